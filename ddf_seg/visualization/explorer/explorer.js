'use strict';
// The explorer: what stands under the pointer, what is pinned, and the overlays. Bokeh draws; this
// reads the packed maps and decides what there is to draw.
(() => {
  const element = (id) => document.getElementById(id);

  async function inflate(text) {
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Response(stream).arrayBuffer();
  }

  async function unpack(packed, width) {
    const bytes = new Uint8Array(await inflate(packed.data));
    if (packed.difference) {
      for (let start = 0; start < bytes.length; start += width) {
        for (let i = start + 1; i < start + width; i++) bytes[i] += bytes[i - 1];
      }
    }
    return bytes;
  }

  const rgba = (r, g, b, a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
  const fromHex = (hex) => rgba(...[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const swatch = (css, text) => {
    const item = document.createElement('span');
    const mark = document.createElement('i');
    mark.style.background = css;
    item.append(mark, text);
    return item;
  };
  const css = (colour) => `rgb(${colour.join(',')})`;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const number = (value) => {
    const text = value.toFixed(2);
    return (text === '-0.00' ? '0.00' : text).replace('-', '−');
  };

  // One DDF call of one network: its filters, and where they stand in the image.
  class Layer {
    constructor(meta, quantised, channelFilters) {
      Object.assign(this, meta);
      this.quantised = quantised;
      this.channelFilters = channelFilters;
      this.height = meta.rows.length;
      this.width = meta.columns.length;
      this.pixels = this.height * this.width;
      this.taps = meta.kernel[0] * meta.kernel[1];
      this.depth = this.groups * this.taps;
      this.lengths = new Float32Array(this.pixels);
      for (let d = 0, i = 0; d < this.depth; d++) {
        for (let p = 0; p < this.pixels; p++, i++) this.lengths[p] += quantised[i] ** 2;
      }
      for (let p = 0; p < this.pixels; p++) this.lengths[p] = Math.sqrt(this.lengths[p]);
    }

    // Of a pixel of the image: the pixel of the map, and where the page keeps its filter.
    locate({x, y}) {
      const along = (value, axis, kept) => {
        const full = Math.min(Math.floor((value + 0.5) * this.density[axis]), this.size[axis] - 1);
        return Math.min(Math.floor(full / this.thinning), kept.length - 1);
      };
      const row = along(y, 0, this.rows);
      const column = along(x, 1, this.columns);
      return {row: this.rows[row], column: this.columns[column], index: row * this.width + column};
    }

    spatial({index}, group) {
      return Array.from({length: this.taps}, (_, t) =>
        this.quantised[(group * this.taps + t) * this.pixels + index] * this.scale);
    }

    group(channel) {
      return Math.floor(channel / (this.channels / this.groups));
    }

    phase({row, column}) {
      const r = this.scale_factor;
      return (row % r) * r + (column % r);
    }

    ofChannel(place, channel) {
      const phase = this.phases > 1 ? this.phase(place) : 0;
      const start = (phase * this.channels + channel) * this.taps;
      return this.channelFilters.subarray(start, start + this.taps);
    }

    effective(place, channel) {
      const other = this.ofChannel(place, channel);
      return this.spatial(place, this.group(channel)).map((value, t) =>
        this.combine === 'mul' ? value * other[t] : value + other[t]);
    }

    bilinearAt(place) {
      const start = this.phase(place) * this.taps;
      return this.bilinear.slice(start, start + this.taps);
    }

    effectiveLimit(channel) {
      let largest = 0;
      for (let phase = 0; phase < this.phases; phase++) {
        for (let t = 0; t < this.taps; t++) {
          const at = (phase * this.channels + channel) * this.taps + t;
          largest = Math.max(largest, Math.abs(this.channelFilters[at]));
        }
      }
      return (this.combine === 'mul' ? this.limit * largest : this.limit + largest) || 1;
    }

    cosine(a, b) {
      let sum = 0;
      for (let i = 0, at = 0; i < this.depth; i++, at += this.pixels) {
        sum += this.quantised[at + a.index] * this.quantised[at + b.index];
      }
      return sum / Math.max(this.lengths[a.index] * this.lengths[b.index], 1e-12);
    }

    similarities(place) {
      const sums = new Float32Array(this.pixels);
      for (let d = 0, i = 0; d < this.depth; d++) {
        const mine = this.quantised[d * this.pixels + place.index];
        for (let p = 0; p < this.pixels; p++, i++) sums[p] += mine * this.quantised[i];
      }
      const length = this.lengths[place.index];
      for (let p = 0; p < this.pixels; p++) sums[p] /= Math.max(length * this.lengths[p], 1e-12);
      return sums;
    }

    // Principal components as CIELAB, then sRGB.
    colours(lab) {
      if (this.cachedColours) return this.cachedColours;
      const offsets = this.components.map((axis) =>
        axis.reduce((sum, value, d) => sum + value * this.mean[d], 0));
      const curve = new Uint8ClampedArray(4097);
      for (let i = 0; i <= 4096; i++) {
        const v = i / 4096;
        curve[i] = 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
      }
      const light = (f) => (f > 6 / 29 ? f ** 3 : (f - 16 / 116) / 7.787);
      const bend = (v) => curve[Math.round(4096 * clamp(v, 0, 1))];
      const found = new Uint32Array(this.pixels);
      for (let p = 0; p < this.pixels; p++) {
        const at = [0, 1, 2].map((c) => {
          let sum = -offsets[c];
          for (let d = 0; d < this.depth; d++) {
            sum += this.components[c][d] * this.quantised[d * this.pixels + p] * this.scale;
          }
          return lab.centre[c] + lab.reach[c] * clamp(sum / lab.range, -1, 1);
        });
        const fy = (at[0] + 16) / 116;
        const x = 0.950456 * light(fy + at[1] / 500);
        const y = light(fy);
        const z = 1.088754 * light(fy - at[2] / 200);
        found[p] = rgba(
          bend(3.240479 * x - 1.53715 * y - 0.498535 * z),
          bend(-0.969256 * x + 1.875991 * y + 0.041556 * z),
          bend(0.055648 * x - 0.204043 * y + 1.057311 * z));
      }
      this.cachedColours = found;
      return found;
    }

    // What the taps cover of the image: left, top, right, bottom.
    reaches(place) {
      const [half, density, size, stride] = this.reach;
      const r = this.scale_factor;
      const ends = [place.row, place.column].map((at, axis) => {
        const centre = this.operator === 'ddf'
          ? at * stride[axis] : Math.min(Math.floor(at / r), size[axis] - 1);
        return [(centre - half[axis]) / density[axis], (centre + half[axis] + 1) / density[axis]];
      });
      return [ends[1][0], ends[0][0], ends[1][1], ends[0][1]];
    }
  }

  class Explorer {
    constructor(models, data) {
      this.models = models;
      this.data = data;
      this.loaded = new Map();
      this.pin = null;
      this.pointer = {x: Math.floor(data.size[1] / 2), y: Math.floor(data.size[0] / 2)};
      this.layers = [];
    }

    async start() {
      const width = this.data.size[1];
      const labels = [this.data.truth, ...this.data.runs.map((run) => run.prediction)];
      const unpacked = await Promise.all(labels.map((packed) => packed && unpack(packed, width)));
      [this.truth, ...this.predictions] = unpacked;
      element('truth-row').hidden = !this.truth;
      this.listen();
      await this.changed('layer');
    }

    listen() {
      const stage = element('stage');
      const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
      stage.addEventListener('keydown', (event) => {
        const step = steps[event.key];
        const far = event.shiftKey ? 10 : 1;
        if (step) this.moved(this.pointer.x + far * step[0], this.pointer.y + far * step[1]);
        else if (event.key === 'Enter') this.tapped(this.pointer.x, this.pointer.y);
        else if (event.key === 'Escape') this.unpin();
        else return;
        event.preventDefault();
      });
    }

    async load(run, name) {
      const key = `${run} ${name}`;
      if (!this.loaded.has(key)) {
        const meta = this.data.runs[run].layers[name];
        const [bytes, channel] = await Promise.all([
          unpack(meta.filters, meta.columns.length), inflate(meta.channel_filters)]);
        const layer = new Layer(meta, new Int8Array(bytes.buffer), new Float32Array(channel));
        this.loaded.set(key, layer);
      }
      return this.loaded.get(key);
    }

    async changed(control) {
      const {layer, channel, opacity, overlay_glyph: glyph} = this.models;
      if (control === 'opacity') {
        glyph.global_alpha = opacity.value;
        return;
      }
      if (control === 'layer') {
        const name = layer.value;
        this.say('Reading the filters…');
        const layers = await Promise.all(this.data.runs.map((_, run) => this.load(run, name)));
        // Another may have been chosen meanwhile.
        if (layer.value !== name) return;
        this.layers = layers;
        channel.high = layers[0].channels - 1;
        channel.value = layers[0].channel;
        this.explain();
      }
      if (!this.layers.length) return;
      if (control === 'layer' || control === 'shown') this.drawOverlay();
      this.draw();
    }

    moved(x, y) {
      const [height, width] = this.data.size;
      this.pointer = {
        x: clamp(Math.floor(x), 0, width - 1), y: clamp(Math.floor(y), 0, height - 1)};
      if (this.waiting || !this.layers.length) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        this.draw();
      });
    }

    tapped(x, y) {
      const [height, width] = this.data.size;
      if (!this.layers.length || x < 0 || y < 0 || x >= width || y >= height) return;
      this.pointer = this.pin = {x: Math.floor(x), y: Math.floor(y)};
      const {shown} = this.models;
      if (shown.value.startsWith('similarity')) this.drawOverlay();
      else {
        this.before = shown.value;
        shown.value = 'similarity 0';
      }
      this.draw();
    }

    unpin() {
      this.pin = null;
      const {shown} = this.models;
      if (shown.value.startsWith('similarity')) shown.value = this.before ?? 'none';
      this.draw();
    }

    say(text) {
      element('state').textContent = text;
    }

    explain() {
      const layer = this.layers[0];
      const [height, width] = layer.size;
      const worst = Math.max(...this.layers.map((one) => one.error / one.limit));
      const error = Math.max(...this.layers.map((one) => one.error));
      const thinned = layer.thinning > 1
        ? ` One of ${layer.thinning}×${layer.thinning} pixels is kept, to keep the page small.` : '';
      const names = this.data.runs.length > 1
        ? ` ${this.data.runs.map((run, i) => `${'AB'[i]}: ${run.title}`).join('; ')}.` : '';
      const note = this.data.note ? ` Note: ${this.data.note}.` : '';
      element('accuracy').textContent =
        `This layer has ${width}×${height} pixels with filters. Their values are stored with ` +
        `${Math.min(...this.layers.map((one) => one.bits))} bits: off by at most ` +
        `${error.toPrecision(2)}, ${(100 * worst).toFixed(1)} % of the largest.` +
        thinned + names + note;
    }

    draw() {
      const {pointer, pin, models} = this;
      const channel = clamp(models.channel.value ?? 0, 0, this.layers[0].channels - 1);
      const blocks = {spatial: [], effective: []};
      for (const layer of this.layers) {
        const here = layer.locate(pointer);
        const there = pin && layer.locate(pin);
        const group = layer.group(channel);
        const spatial = layer.spatial(here, group);
        const pinned = there && layer.spatial(there, group);
        blocks.spatial.push([
          ['pointer', spatial], ['pinned', pinned],
          ['difference', pinned && spatial.map((value, t) => value - pinned[t])]]);
        blocks.effective.push([
          ['pointer', layer.effective(here, channel)],
          ['pinned', there && layer.effective(there, channel)],
          ['bilinear', layer.bilinear && layer.bilinearAt(here)]]);
      }
      const first = this.layers[0];
      const limits = this.layers.map((layer) => layer.effectiveLimit(channel));
      const combined = first.combine === 'mul' ? '×' : '+';
      const alike = this.layers.every((layer) => layer.channels_neutral && layer.groups === 1);
      element('effective-title').textContent = alike
        ? 'Effective filter (the spatial one, in all channels)'
        : `Effective filter (spatial ${combined} channel ${channel})`;
      this.drawBlocks('spatial', blocks.spatial, Math.max(...this.layers.map((l) => l.limit)));
      this.drawBlocks('effective', blocks.effective, Math.max(...limits));
      this.drawBoxes();
      this.report();
    }

    drawBlocks(name, rows, limit) {
      const [kh, kw] = this.layers[0].kernel;
      const cells = {x: [], y: [], value: [], text: [], ink: []};
      const captions = {x: [], y: [], text: []};
      rows.forEach((blocks, row) => blocks.forEach(([caption, values], block) => {
        if (!values) return;
        const left = block * (kw + 0.5);
        const top = row * (kh + 0.9);
        captions.x.push(left - 0.5);
        captions.y.push(top - 0.52);
        captions.text.push(rows.length > 1 ? `${'AB'[row]}: ${caption}` : caption);
        values.forEach((value, t) => {
          cells.x.push(left + (t % kw));
          cells.y.push(top + Math.floor(t / kw));
          cells.value.push(value);
          cells.text.push(kw <= 3 ? number(value) : '');
          cells.ink.push(Math.abs(value) > 0.65 * limit ? 'white' : '#1d2733');
        });
      }));
      const mapper = this.models[`${name}_mapper`];
      if (mapper.high !== limit) mapper.setv({low: -limit, high: limit});
      this.models[`${name}_captions`].data = captions;
      this.models[name].data = cells;
    }

    drawBoxes() {
      const layer = this.layers[0];
      const marked = [[this.pointer, '#ffb000'], ...(this.pin ? [[this.pin, '#00d0ff']] : [])];
      const boxes = {x: [], y: [], left: [], top: [], right: [], bottom: [], colour: []};
      for (const [point, colour] of marked) {
        const [left, top, right, bottom] = layer.reaches(layer.locate(point));
        boxes.x.push(point.x + 0.5);
        boxes.y.push(point.y + 0.5);
        boxes.left.push(left);
        boxes.top.push(top);
        boxes.right.push(right);
        boxes.bottom.push(bottom);
        boxes.colour.push(colour);
      }
      this.models.boxes.data = boxes;
    }

    report() {
      const {pointer, pin, data} = this;
      const at = pointer.y * data.size[1] + pointer.x;
      const layer = this.layers[0];
      const place = layer.locate(pointer);
      const phase = layer.phases > 1 || layer.bilinear
        ? `, phase (${place.row % layer.scale_factor}, ${place.column % layer.scale_factor})` : '';
      element('place').textContent =
        `${pointer.x}, ${pointer.y}`;
      element('map-place').textContent = `${place.column}, ${place.row}${phase}`;
      const name = (label) => label < data.names.length
        ? swatch(css(data.colours[label]), data.names[label]) : swatch('#000', 'not known');
      const said = this.predictions.map((prediction) => name(prediction[at]));
      element('predicted').replaceChildren(
        ...said.flatMap((item, i) => (i ? [' ', item] : [item])));
      if (this.truth) element('true').replaceChildren(name(this.truth[at]));
      const cosines = pin
        ? this.layers.map((l) => number(l.cosine(l.locate(pointer), l.locate(pin)))) : ['–'];
      element('cosine').textContent = cosines.join(', ');
      this.say(pin
        ? `Pinned: ${pin.x}, ${pin.y} (blue). Another click pins another, Escape unpins.`
        : 'Nothing is pinned.');
    }

    drawOverlay() {
      const [kind, which] = this.models.shown.value.split(' ');
      const run = Number(which ?? 0);
      const [height, width] = this.data.size;
      const legend = [];
      const layer = this.layers[run];
      let pixels = new Uint32Array(1);
      let map = false;
      if (kind === 'prediction' || kind === 'truth') {
        const labels = kind === 'truth' ? this.truth : this.predictions[run];
        const colours = this.data.colours.map((colour) => rgba(...colour));
        pixels = Uint32Array.from(labels, (label) => colours[label] ?? 0);
        const used = new Set(labels);
        this.data.names.forEach((name, label) => {
          if (used.has(label)) legend.push(swatch(css(this.data.colours[label]), name));
        });
      } else if (kind === 'error') {
        pixels = Uint32Array.from(this.predictions[run], (label, i) => {
          if (this.truth[i] === 255) return rgba(150, 160, 170);
          return label === this.truth[i] ? 0 : rgba(215, 48, 39);
        });
        legend.push(swatch('rgb(215,48,39)', 'wrong'), swatch('rgb(150,160,170)', 'not known'));
      } else if (kind === 'colours') {
        pixels = layer.colours(this.data.lab);
        map = true;
        legend.push('Principal components of the spatial filters: similar colours, similar filters.');
      } else if (kind === 'similarity') {
        map = Boolean(this.pin);
        if (this.pin) {
          const scale = this.data.sequential.map(fromHex);
          pixels = Uint32Array.from(layer.similarities(layer.locate(this.pin)), (value) =>
            scale[clamp(Math.round((value + 1) * 127.5), 0, 255)]);
          const bar = swatch(
            `linear-gradient(90deg, ${this.data.sequential.filter((_, i) => i % 17 === 0)})`,
            '1, alike');
          bar.querySelector('i').className = 'bar';
          legend.push('Cosine to the pinned filter: −1', bar);
        } else legend.push('Click into the image to pin a filter.');
      }
      element('legend').replaceChildren(...legend);
      const shape = map ? [layer.height, layer.width]
        : pixels.length > 1 ? [height, width] : [1, 1];
      const size = map ? [layer.height * layer.thinning / layer.density[0],
        layer.width * layer.thinning / layer.density[1]] : [height, width];
      const source = this.models.overlay;
      const Pixels = source.data.image[0].constructor;
      source.data = {
        image: [new Pixels(pixels, shape)], x: [0], y: [0], dw: [size[1]], dh: [size[0]]};
    }
  }

  window.startDDFExplorer = async (models) => {
    const data = JSON.parse(element('ddf-data').textContent);
    window.ddfExplorer = new Explorer(models, data);
    await window.ddfExplorer.start();
  };
})();
