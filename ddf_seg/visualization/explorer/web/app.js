// The state of the page, and what follows from a change.

class Scene {
  constructor(meta) {
    Object.assign(this, meta);
    this.truthMeta = meta.truth;
    this.truth = null;
    this.photo = element(`photo-${meta.number}`);
    this.borders = [];
    this.maps = new Map();
  }

  async load() {
    if (this.loaded) return;
    const width = this.size[1];
    const labels = [this.truthMeta, ...this.runs.map((run) => run.prediction)];
    const unpacked = await Promise.all(labels.map((packed) => packed && unpack(packed, width)));
    [this.truth, ...this.predictions] = unpacked;
    this.doubts = await Promise.all(this.runs.map(async ({doubt}) => doubt && {
      values: Uint32Array.from(await unpack(doubt.packed, doubt.shape[1])), shape: doubt.shape}));
    await this.photo.decode();
    this.loaded = true;
  }

  mapValues(layer, map) {
    return layer.mapBytes.get(map.name);
  }

  mapAt(layer, map, place) {
    const row = Math.min(Math.floor(place.row / map.step), map.shape[0] - 1);
    const column = Math.min(Math.floor(place.column / map.step), map.shape[1] - 1);
    const value = this.mapValues(layer, map)[row * map.shape[1] + column];
    return map.low + (map.high - map.low) * value / 255;
  }
}

class Explorer {
  constructor(data) {
    this.data = data;
    this.scenes = data.images.map((meta, number) => new Scene({...meta, number}));
    this.diverging = new Ramp(data.ramps.diverging);
    this.sequential = new Ramp(data.ramps.sequential);
    this.cyclic = new Ramp(data.ramps.cyclic);
    this.errorColour = rgba(...data.error);
    this.layers = new Map();
    this.initial = data.start;
    this.state = {
      image: 0, views: [{...data.start.view}], active: 0, pointer: data.images[0].pointer, pin: null,
      zoom: [1, 0, 0], opacity: 0.6, outlines: true, palette: 'own', channel: null, choice: null,
      tab: 'kinds', ...fromAddress(location.hash, data)};
    this.views = [];
    this.panel = new Panel(this);
    this.guide = new Guide(this);
    this.strip();
    this.listen();
    listenToKeys(this);
  }

  get scene() {
    return this.scenes[this.state.image];
  }

  get colours() {
    return this.state.palette === 'clear' ? this.data.clear : this.data.colours;
  }

  labTable() {
    this.table ??= labTable(this.data.lab);
    return this.table;
  }

  metaOf(number) {
    const {layer, run} = this.state.views[number];
    return this.scene.runs[run].layers[layer];
  }

  layerOf(number) {
    const view = this.state.views[number];
    return view && this.scene.loaded
      ? this.layers.get(`${this.state.image} ${view.run} ${view.layer}`) ?? null : null;
  }

  channel(layer) {
    return clamp(this.state.channel ?? layer.channel, 0, layer.channels - 1);
  }

  listen() {
    const on = (id, event, run) => element(id).addEventListener(event, run);
    on('split', 'click', () => this.split());
    on('open-keys', 'click', () => element('keys').showModal());
    on('theme', 'click', () => this.theme());
    on('outlines', 'change', (event) => this.set({outlines: event.target.checked}));
    on('palette', 'change', (event) => this.set({palette: event.target.checked ? 'clear' : 'own'}));
    on('opacity', 'input', (event) => this.set({opacity: Number(event.target.value)}));
    on('channel', 'input', (event) => this.set({channel: Math.floor(Number(event.target.value)) || 0}));
    on('image', 'change', (event) => this.showImage(Number(event.target.value)));
    on('unpin', 'click', () => this.set({pin: null}));
    element('image').replaceChildren(...this.scenes.map(({name}, i) => node('option', {value: i}, name)));
    element('image-row').hidden = this.scenes.length < 2;
    window.addEventListener('hashchange', () => {
      if (location.hash !== this.hash) this.set(fromAddress(location.hash, this.data));
    });
  }

  strip() {
    this.buttons = this.data.layers.map(({name, short, what}) => {
      const picture = node('img', {alt: '', width: 72, height: 48});
      const button = node('button', {type: 'button', title: name, 'aria-label': `${short}: ${what} (${name})`},
        picture, node('span', {}, short));
      button.dataset.layer = name;
      button.addEventListener('click', () => this.setView(this.state.active, {layer: name}));
      return button;
    });
    element('strip').replaceChildren(...this.buttons);
  }

  set(changes) {
    Object.assign(this.state, changes);
    const {state} = this;
    state.active = clamp(state.active, 0, state.views.length - 1);
    const [height, width] = this.scene.size;
    state.pointer = {x: clamp(state.pointer.x, 0, width - 1), y: clamp(state.pointer.y, 0, height - 1)};
    // What a layer does not have gives way to what it has.
    state.views = state.views.map((view, number) => {
      const there = overlaysOf(this.scene, view.run, this.metaOf(number));
      return there.some(([id]) => id === view.overlay) ? view
        : {...view, overlay: this.metaOf(number).pixels_alike ? 'prediction' : 'colours'};
    });
    return this.update();
  }

  setView(number, changes) {
    const views = this.state.views.map((view, i) => (i === number ? {...view, ...changes} : view));
    return this.set({views, active: number});
  }

  // Loads what is to be shown, and shows it.
  async update() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const {state, scene} = this;
    const missing = state.views.filter((_, number) => !this.layerOf(number));
    if (missing.length) {
      element('state').textContent = 'Reading the filters…';
      await scene.load();
      for (const {layer, run} of missing) {
        const key = `${state.image} ${run} ${layer}`;
        if (this.layers.has(key)) continue;
        const meta = scene.runs[run].layers[layer];
        const loaded = await Layer.load(meta);
        loaded.mapBytes = new Map(await Promise.all(meta.maps.map(async (map) =>
          [map.name, await unpack(map.packed, map.shape[1])])));
        this.layers.set(key, loaded);
      }
      // Something else is to be shown by now.
      if (turn !== this.turn) return;
    }
    this.render();
  }

  render() {
    const {state} = this;
    if (this.views.length !== state.views.length) {
      this.views = state.views.map((_, number) => this.views[number] ?? new View(this, number));
      // The first stays where it is: it may have the focus.
      const place = element('views');
      while (place.children.length > this.views.length) place.lastChild.remove();
      for (const view of this.views) if (!view.root.isConnected) place.append(view.root);
      element('views').dataset.number = this.views.length;
    }
    for (const view of this.views) view.refresh();
    this.panel.build();
    const {layer, run} = state.views[state.active];
    this.buttons.forEach((button) => {
      const shown = button.dataset.layer === layer;
      if (shown && button.getAttribute('aria-current') !== 'true') {
        button.scrollIntoView?.({block: 'nearest', inline: 'nearest'});
      }
      button.setAttribute('aria-current', shown);
      const picture = this.scene.runs[run].layers[button.dataset.layer].picture;
      if (button.firstChild.src !== picture) button.firstChild.src = picture;
    });
    element('what').textContent = this.data.layers.find(({name}) => name === layer).what;
    element('split').setAttribute('aria-pressed', state.views.length > 1);
    element('outlines').checked = state.outlines;
    element('palette').checked = state.palette === 'clear';
    element('opacity').value = state.opacity;
    element('image').value = state.image;
    element('unpin').hidden = !state.pin;
    element('state').textContent = [
      state.pin ? `Pinned: ${state.pin.x}, ${state.pin.y}.` : 'Nothing is pinned.',
      state.choice ? `Lit up: pixels ${nameOfChoice(state.choice, this.data.names)}.` : '',
    ].join(' ').trim();
    this.remember();
  }

  remember() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.hash = toAddress(this.state);
      try {
        history.replaceState(null, '', this.hash);
      } catch {
        // A page inside another may have no history of its own.
      }
    }, 150);
  }

  point({x, y}) {
    const [height, width] = this.scene.size;
    this.state.pointer = {x: clamp(x, 0, width - 1), y: clamp(y, 0, height - 1)};
    if (this.waiting || !this.layerOf(0)) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const started = performance.now();
      for (const view of this.views) view.drawCursor();
      this.panel.point();
      this.hoverTook = performance.now() - started;
      this.remember();
    });
  }

  tap(point, touch = false, scale = 1) {
    const [height, width] = this.scene.size;
    const {x, y} = point;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const {pin} = this.state;
    // A finger is wider than a pixel.
    const near = touch ? 14 / scale : 0;
    const again = pin && Math.abs(pin.x - x) <= near && Math.abs(pin.y - y) <= near;
    this.set({pointer: {x, y}, pin: again ? null : {x, y}});
  }

  escape() {
    if (!element('guide').hidden) this.guide.close();
    else if (this.state.choice) this.set({choice: null});
    else this.set({pin: null});
  }

  stepLayer(step) {
    const {layers} = this.data;
    const at = layers.findIndex(({name}) => name === this.state.views[this.state.active].layer);
    this.setView(this.state.active, {layer: layers[(at + step + layers.length) % layers.length].name});
  }

  stepOverlay(step) {
    const {active, views} = this.state;
    const there = overlaysOf(this.scene, views[active].run, this.metaOf(active));
    const at = there.findIndex(([id]) => id === views[active].overlay);
    this.setView(active, {overlay: there[(at + step + there.length) % there.length][0]});
  }

  stepChannel(step) {
    const layer = this.layerOf(this.state.active);
    if (layer) this.set({channel: (this.channel(layer) + step + layer.channels) % layer.channels});
  }

  stepImage(step) {
    this.showImage((this.state.image + step + this.scenes.length) % this.scenes.length);
  }

  showImage(image) {
    this.set({image, pin: null, choice: null, zoom: [1, 0, 0], pointer: this.scenes[image].pointer});
  }

  hide() {
    if (this.state.opacity > 0) this.before = this.state.opacity;
    this.set({opacity: this.state.opacity > 0 ? 0 : this.before ?? 0.6});
  }

  split() {
    const {views} = this.state;
    if (views.length > 1) this.set({views: [views[this.state.active]], active: 0});
    else {
      const other = this.scene.runs.length > 1 ? {...views[0], run: 1 - views[0].run}
        : {...views[0], overlay: views[0].overlay === 'prediction' ? 'colours' : 'prediction'};
      this.set({views: [views[0], other], active: 1});
    }
  }

  // Keeps what is under the point where it is.
  zoomAt({x, y}, factor) {
    const [height, width] = this.scene.size;
    const [times, ...middle] = this.state.zoom;
    const [cx, cy] = times > 1 ? middle : [width / 2, height / 2];
    const next = clamp(times * factor, 1, 64);
    const part = times / next;
    this.state.zoom = [next, x + 0.5 + (cx - x - 0.5) * part, y + 0.5 + (cy - y - 0.5) * part];
    this.pan(0, 0);
  }

  pan(dx, dy) {
    const [height, width] = this.scene.size;
    const [times, x, y] = this.state.zoom;
    this.state.zoom = times <= 1 ? [1, 0, 0] : [times, clamp(x + dx, 0, width), clamp(y + dy, 0, height)];
    for (const view of this.views) view.draw();
    this.remember();
  }

  theme() {
    const root = document.documentElement;
    const dark = getComputedStyle(root).getPropertyValue('--dark').trim() === '1';
    root.dataset.theme = dark ? 'light' : 'dark';
    element('theme').setAttribute('aria-pressed', !dark);
  }
}

const explorer = new Explorer(JSON.parse(element('data').textContent));
window.explorer = explorer;
explorer.set({}).then(() => { explorer.ready = true; });
