// A view: the image, what lies over it, the cursor, and what a filter takes from.

const AMBER = '#ffb000';
const CYAN = '#35d0ff';

// The taps as squares of their weight's colour, and lines to those that count.
function drawFootprint(context, app, layer, place, filter, limit, toScreen, lines) {
  const squares = layer.footprint(place);
  const corners = ([left, top, right, bottom]) => [...toScreen(left, top), ...toScreen(right, bottom)];
  context.save();
  filter.forEach((weight, t) => {
    const [left, top, right, bottom] = corners(squares[t]);
    context.globalAlpha = clamp(Math.abs(weight) / limit, 0, 1) * 0.75;
    context.fillStyle = app.diverging.css(weight, -limit, limit);
    context.fillRect(left, top, right - left, bottom - top);
    context.globalAlpha = 0.55;
    context.strokeStyle = '#ffffff';
    context.lineWidth = 0.7;
    context.strokeRect(left, top, right - left, bottom - top);
  });
  const [left, top, right, bottom] = corners(layer.square(place));
  if (lines) {
    const strongest = Math.max(...filter.map(Math.abs), 1e-9);
    filter.forEach((weight, t) => {
      if (Math.abs(weight) < 0.04 * strongest) return;
      const [l, u, r, b] = corners(squares[t]);
      context.globalAlpha = 0.9;
      context.strokeStyle = weight > 0 ? AMBER : CYAN;
      context.lineWidth = 0.5 + 4 * Math.abs(weight) / strongest;
      context.beginPath();
      context.moveTo((left + right) / 2, (top + bottom) / 2);
      context.lineTo((l + r) / 2, (u + b) / 2);
      context.stroke();
    });
  }
  context.globalAlpha = 1;
  context.strokeStyle = AMBER;
  context.lineWidth = 1.6;
  context.strokeRect(left, top, right - left, bottom - top);
  context.restore();
}

class View {
  constructor(app, number) {
    this.app = app;
    this.number = number;
    this.below = node('canvas', {'aria-hidden': 'true'});
    this.above = node('canvas', {'aria-hidden': 'true'});
    this.stage = node('div', {
      className: 'stage', tabIndex: 0, role: 'application', 'aria-roledescription': 'image',
      'aria-label': `View ${number + 1} of the image. Arrows move the cursor, Enter pins, Escape ` +
        'unpins, question mark lists all keys.',
    }, this.below, this.above);
    this.overlays = node('select', {'aria-label': `What lies over view ${number + 1}`});
    this.runs = node('select', {'aria-label': `Network of view ${number + 1}`});
    this.heading = node('button', {className: 'view-name', type: 'button'});
    this.legend = node('div', {className: 'legend', role: 'group',
      'aria-label': `Legend of view ${number + 1}`});
    this.root = node('section', {className: 'view', 'aria-label': `View ${number + 1}`},
      node('div', {className: 'view-bar'}, this.heading, this.overlays, this.runs),
      this.stage, this.legend);
    this.picture = document.createElement('canvas');
    this.outlines = document.createElement('canvas');
    this.veil = document.createElement('canvas');
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  get state() {
    return this.app.state.views[this.number];
  }

  listen() {
    const {app} = this;
    this.overlays.addEventListener('change', () => app.setView(this.number, {overlay: this.overlays.value}));
    this.runs.addEventListener('change', () => app.setView(this.number, {run: Number(this.runs.value)}));
    this.heading.addEventListener('click', () => app.set({active: this.number}));
    this.stage.addEventListener('focus', () => app.set({active: this.number}));
    this.stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      app.zoomAt(this.toImage(event), Math.exp(-event.deltaY / 400));
    }, {passive: false});
    this.fingers = new Map();
    this.stage.addEventListener('pointerdown', (event) => {
      this.fingers.set(event.pointerId, event);
      this.travelled = this.fingers.size > 1 ? Infinity : 0;
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener('pointermove', (event) => this.move(event));
    this.stage.addEventListener('pointerup', (event) => {
      const known = this.fingers.delete(event.pointerId);
      if (known && this.travelled < 6) app.tap(this.toImage(event), event.pointerType === 'touch', this.scale);
    });
    this.stage.addEventListener('pointercancel', (event) => this.fingers.delete(event.pointerId));
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== 'touch') this.app.point(this.toImage(event));
      return;
    }
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    this.travelled += Math.abs(dx) + Math.abs(dy);
    if (this.fingers.size === 2) {
      const other = [...this.fingers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      this.app.zoomAt(this.toImage(other), apart(event) / Math.max(apart(before), 1));
    } else if (this.app.state.zoom[0] > 1 && this.travelled >= 6) {
      this.app.pan(-dx / this.scale, -dy / this.scale);
    } else if (event.pointerType === 'touch' && this.travelled >= 6) {
      this.app.point(this.toImage(event));
    }
    this.fingers.set(event.pointerId, event);
  }

  // The transform: pixels of the window per pixel of the image, and where the image begins.
  measure() {
    const {size} = this.app.scene;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const [times, x, y] = this.app.state.zoom;
    this.scale = Math.min(width / size[1], height / size[0]) * times;
    // No edge of the image comes inside while there is more of it beyond the other.
    const centre = (at, room, length) => {
      const half = room / this.scale / 2;
      return times <= 1 || 2 * half >= length ? length / 2 : clamp(at, half, length - half);
    };
    this.left = width / 2 - centre(x, width, size[1]) * this.scale;
    this.top = height / 2 - centre(y, height, size[0]) * this.scale;
    return [width, height];
  }

  toImage(event) {
    const box = this.stage.getBoundingClientRect();
    return {
      x: Math.floor((event.clientX - box.left - this.left) / this.scale),
      y: Math.floor((event.clientY - box.top - this.top) / this.scale)};
  }

  prepare(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = this.measure();
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    const context = canvas.getContext('2d');
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }

  static fill(canvas, pixels, [height, width]) {
    canvas.width = width;
    canvas.height = height;
    const bytes = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, 4 * pixels.length);
    canvas.getContext('2d').putImageData(new ImageData(bytes, width, height), 0, 0);
  }

  // Makes what lies over the image anew, where that has changed.
  refresh() {
    this.stage.style.setProperty('--aspect', this.app.scene.size[1] / this.app.scene.size[0]);
    const {app, state} = this;
    const {scene} = app;
    const layer = app.layerOf(this.number);
    const key = JSON.stringify([app.state.image, state, app.state.palette,
      state.overlay === 'similarity' && app.state.pin, app.state.outlines]);
    if (layer && key !== this.key) {
      this.key = key;
      const started = performance.now();
      this.overlay = makeOverlay(app, state, scene, layer);
      if (this.overlay.pixels) View.fill(this.picture, this.overlay.pixels, this.overlay.shape);
      this.outlined = app.state.outlines && state.overlay !== 'none';
      const labels = this.overlay.labels ?? scene.predictions[state.run];
      if (this.outlined && labels !== this.outlinedLabels) {
        View.fill(this.outlines, outlinePixels(labels, scene.size), scene.size);
        this.outlinedLabels = labels;
      }
      this.spent = performance.now() - started;
      this.legend.replaceChildren(...this.overlay.legend);
    }
    const choice = JSON.stringify([app.state.image, state.layer, state.run, app.state.choice]);
    if (layer && choice !== this.choiceKey) {
      this.choiceKey = choice;
      this.mask = app.state.choice && chosenPixels(layer, scene, state.run, app.state.choice);
      if (this.mask) {
        const dark = rgba(8, 12, 18, 190);
        const veil = Uint32Array.from(this.mask, (chosen) => (chosen ? 0 : dark));
        View.fill(this.veil, veil, [layer.height, layer.width]);
      }
    }
    this.controls();
    this.draw();
  }

  controls() {
    const {app, state} = this;
    const meta = app.metaOf(this.number);
    const choices = overlaysOf(app.scene, state.run, meta);
    const key = choices.join();
    if (key !== this.choices) {
      this.choices = key;
      this.overlays.replaceChildren(...choices.map(([value, text]) => node('option', {value}, text)));
    }
    this.overlays.value = state.overlay;
    const runs = app.scene.runs;
    if (this.runs.length !== runs.length) {
      this.runs.replaceChildren(...runs.map((run, i) => node('option', {value: i}, run.title)));
    }
    this.runs.hidden = runs.length < 2;
    this.runs.value = state.run;
    this.heading.textContent = app.data.layers.find(({name}) => name === state.layer).short;
    this.heading.title = state.layer;
    const active = app.state.views.length > 1 && app.state.active === this.number;
    this.root.classList.toggle('active', active);
    this.heading.setAttribute('aria-pressed', app.state.active === this.number);
  }

  draw() {
    const {app, overlay} = this;
    if (!app.scene || !this.stage.clientWidth) return;
    const context = this.prepare(this.below);
    const [height, width] = app.scene.size;
    context.imageSmoothingEnabled = this.scale < 1;
    const put = (source, size, alpha) => {
      context.globalAlpha = alpha;
      context.drawImage(source, this.left, this.top, size[1] * this.scale, size[0] * this.scale);
    };
    context.save();
    context.beginPath();
    context.rect(this.left, this.top, width * this.scale, height * this.scale);
    context.clip();
    if (app.scene.photo.complete) put(app.scene.photo, app.scene.size, 1);
    context.imageSmoothingEnabled = false;
    if (overlay?.pixels) put(this.picture, overlay.size, app.state.opacity);
    if (this.outlined && overlay) put(this.outlines, app.scene.size, 0.9);
    const layer = app.layerOf(this.number);
    if (this.mask && layer) {
      put(this.veil, [layer.height * layer.thinning / layer.density[0],
        layer.width * layer.thinning / layer.density[1]], 1);
    }
    context.restore();
    this.drawCursor();
  }

  drawCursor() {
    const {app} = this;
    const layer = app.layerOf(this.number);
    if (!app.scene || !this.stage.clientWidth) return;
    const context = this.prepare(this.above);
    const toScreen = (x, y) => [this.left + x * this.scale, this.top + y * this.scale];
    const {pointer, pin} = app.state;
    if (layer) {
      const place = layer.locate(pointer);
      drawFootprint(context, app, layer, place, layer.effective(place, app.channel(layer)),
        layer.limit, toScreen, this.scale / layer.coarse[0] > 12);
    }
    for (const [point, colour, radius] of [[pointer, AMBER, 9], ...(pin ? [[pin, CYAN, 12]] : [])]) {
      const [x, y] = toScreen(point.x + 0.5, point.y + 0.5);
      for (const [ink, width] of [['#000000', 4], [colour, 2]]) {
        context.strokeStyle = ink;
        context.lineWidth = width;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }
}
