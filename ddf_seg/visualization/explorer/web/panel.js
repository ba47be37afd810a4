// The panel: the filters under the cursor, kinds, and what was chosen.

class Panel {
  constructor(app) {
    this.app = app;
    this.lens = new Lens(app);
    element('lens').append(this.lens.canvas);
    this.tabs = ['kinds', 'choose', 'about'];
    for (const name of this.tabs) {
      element(`tab-${name}`).addEventListener('click', () => app.set({tab: name}));
      element(`tab-${name}`).addEventListener('keydown', (event) => {
        const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (!step) return;
        const next = this.tabs[(this.tabs.indexOf(name) + step + 3) % 3];
        app.set({tab: next});
        element(`tab-${next}`).focus();
        event.preventDefault();
        event.stopPropagation();
      });
    }
  }

  // Builds what depends on layers and choice; `point` then fills in the numbers.
  build() {
    const {app} = this;
    const {state} = app;
    const key = JSON.stringify([state.image, state.views.map(({layer, run}) => [layer, run]),
      state.active, state.pin, state.channel]);
    if (key !== this.key) {
      this.key = key;
      this.rows = [];
      const several = state.views.length > 1;
      for (const point of state.pin ? ['pointer', 'pin'] : ['pointer']) {
        state.views.forEach(({run}, number) => {
          const layer = app.layerOf(number);
          const title = app.scene.runs.length > 1 ? ` (${app.scene.runs[run].title})` : '';
          const before = several ? `View ${number + 1}${title}: ` : title && `${title.slice(2, -1)}: `;
          const name = point === 'pin' ? 'pinned pixel' : 'pixel';
          const row = new FilterRow(app, layer, (place) =>
            `${before}${name} (${place.column}, ${place.row}) of the layer`);
          row.root.dataset.row = `${point} ${number}`;
          this.rows.push({row, layer, point});
        });
      }
      element('filters').replaceChildren(...this.rows.map(({row}) => row.root));
    }
    const layer = app.layerOf(state.active);
    if (layer) this.scale(layer);
    for (const name of this.tabs) {
      const chosen = state.tab === name;
      element(`tab-${name}`).setAttribute('aria-selected', chosen);
      element(`tab-${name}`).tabIndex = chosen ? 0 : -1;
      element(`page-${name}`).hidden = !chosen;
    }
    if (layer && state.tab === 'kinds') this.kinds(layer);
    if (layer && state.tab === 'choose') this.choose(layer);
    if (layer && state.tab === 'about') this.about(layer);
    this.point();
  }

  scale(layer) {
    element('scales').replaceChildren(
      ...[['hundredths; effective', layer.limit], ['difference', layer.own_limit]].map(([name, limit]) =>
        bar(this.app.diverging, -limit, limit, name, hundredths)));
    element('channel-row').hidden = layer.channels_neutral && layer.groups === 1 && !layer.gain;
    element('channel').max = layer.channels - 1;
    element('channel').value = this.app.channel(layer);
  }

  point() {
    const {app} = this;
    const {state, scene, data} = app;
    const {pointer, pin} = state;
    for (const {row, layer, point} of this.rows ?? []) {
      row.show(layer.locate(state[point]), app.channel(layer));
    }
    const layer = app.layerOf(state.active);
    if (!layer) return;
    const view = state.views[state.active];
    const at = pointer.y * scene.size[1] + pointer.x;
    const name = (index) => (index === 255 ? [node('span', {}, 'not known')]
      : [swatch(css(app.colours[index]), data.names[index])]);
    element('place').textContent = `${pointer.x}, ${pointer.y}`;
    element('predicted').replaceChildren(...name(scene.predictions[view.run][at]));
    element('true-row').hidden = !scene.truth;
    if (scene.truth) element('true').replaceChildren(...name(scene.truth[at]));
    const place = layer.locate(pointer);
    element('alike').textContent = pin && !layer.pixels_alike
      ? short(layer.cosine(place, layer.locate(pin))) : '–';
    element('kind').textContent = layer.kindOf ? String(layer.kindOf[place.index] + 1) : '–';
    const map = layer.maps.find((one) => `map ${one.name}` === view.overlay);
    element('map-row').hidden = !map;
    if (map) {
      element('map-name').textContent = map.name;
      element('map-value').textContent = short(app.scene.mapAt(layer, map, place));
    }
    this.lens.draw(layer, place, layer.effective(place, app.channel(layer)));
  }

  kinds(layer) {
    const {app} = this;
    const key = JSON.stringify([this.key, app.state.choice, 'kinds']);
    if (key === this.kindsKey) return;
    this.kindsKey = key;
    const page = element('page-kinds');
    if (!layer.kinds) {
      page.replaceChildren(node('p', {}, 'All pixels of this layer have the same filters.'));
      return;
    }
    const {means, shares, pixels} = layer.kinds;
    const first = layer.group(app.channel(layer)) * layer.taps;
    const limit = Math.max(...means.flat().map(Math.abs), 1e-9);
    const cards = means.map((mean, kind) => {
      const chosen = app.state.choice === `kind:${kind}`;
      const values = mean.slice(first, first + layer.taps);
      const card = node('button', {type: 'button', className: 'card', 'aria-pressed': chosen,
        title: `${pixels[kind]} filters`, 'aria-label': `Kind ${kind + 1}, ${percent(shares[kind])} of ` +
          `the pixels, ${pixels[kind]} filters`},
      thumbnail(app, values, layer.kernel, limit),
      swatch(css(app.data.kindColours[kind]), `${kind + 1}`), node('b', {}, percent(shares[kind])));
      card.dataset.kind = kind;
      card.addEventListener('click', () => app.set({choice: chosen ? null : `kind:${kind}`}));
      return card;
    });
    page.replaceChildren(
      node('p', {}, `The ${layer.height * layer.width} filters of this layer, as ${means.length} kinds ` +
        '(k-means): how the mean of each differs from the mean of all, and its share. ' +
        'A click lights up where it occurs.'),
      node('div', {className: 'cards'}, ...cards));
  }

  choose(layer) {
    const {app} = this;
    const {scene, state} = app;
    const run = state.views[state.active].run;
    const key = JSON.stringify([this.key, state.choice, 'choose']);
    if (key === this.chooseKey) return;
    this.chooseKey = key;
    const button = (choice, text, colour) => {
      const chosen = state.choice === choice;
      const made = node('button', {type: 'button', 'aria-pressed': chosen},
        ...(colour ? [swatch(colour, text)] : [text]));
      made.dataset.choice = choice;
      made.addEventListener('click', () => app.set({choice: chosen ? null : choice}));
      return made;
    };
    const present = new Set(scene.predictions[run]);
    const buttons = [button('border', 'borders')];
    if (scene.truth) buttons.push(button('error', 'errors', css(app.data.error)));
    for (const index of scene.classes) {
      if (present.has(index)) {
        buttons.push(button(`class:${index}`, app.data.names[index], css(app.colours[index])));
      }
    }
    const page = [node('p', {}, 'Light up some pixels, and see their mean filter against all others:'),
      node('div', {className: 'choices'}, ...buttons)];
    const mask = state.choice && chosenPixels(layer, scene, run, state.choice);
    if (mask) {
      const {chosen, inside, outside} = layer.means(mask, layer.group(app.channel(layer)));
      const limit = Math.max(...[...inside, ...outside].map(Math.abs), 1e-9);
      const tables = [['chosen', inside], ['the rest', outside],
        ['difference', inside.map((value, t) => value - outside[t])]].map(([caption, values]) => {
        const table = new FilterTable(caption, layer.kernel);
        table.show(values, limit, app.diverging);
        return table.root;
      });
      const title = node('h3', {}, `Pixels ${nameOfChoice(state.choice, app.data.names)}: ${chosen} ` +
        `filters, ${percent(chosen / layer.pixels)}`);
      title.id = 'chosen';
      page.push(title, node('div', {className: 'filters', id: 'chosen-filters'}, ...tables),
        node('p', {className: 'hint'}, `Mean differences from the mean of all filters of the layer, in hundredths; colours to ` +
          `${short(100 * limit)}.`));
    }
    element('page-choose').replaceChildren(...page);
  }

  about(layer) {
    const {app} = this;
    const view = app.state.views[app.state.active];
    const {what, detail, name} = app.data.layers.find((one) => one.name === view.layer);
    const thinned = layer.thinning > 1
      ? ` One of ${layer.thinning}×${layer.thinning} pixels is kept, to keep the page small.` : '';
    const list = layer.maps.map((map) => node('li', {}, node('b', {}, map.name), `: ${map.meaning}`));
    element('page-about').replaceChildren(
      node('p', {}, node('b', {}, what), `. ${detail} Its path: `, node('code', {}, name), '.'),
      ...(list.length ? [node('p', {}, 'Maps of this layer that say something:'), node('ul', {}, ...list)] : []),
      node('p', {id: 'accuracy'}, `${layer.size[1]}×${layer.size[0]} pixels with filters, stored with ` +
        `${layer.bits} bits: off by at most ${layer.error.toPrecision(2)}, ` +
        `${(100 * layer.error / layer.limit).toFixed(1)} % of the colour scale.${thinned}` +
        (app.data.note ? ` Note: ${app.data.note}.` : '')));
  }
}
