// Filters as tables of coloured cells, in hundredths.

const hundredths = (value) => {
  const text = (100 * value).toFixed(0);
  return (Number(text) === 0 ? '0' : text).replace('-', '−');
};

class FilterTable {
  constructor(caption, [kh, kw]) {
    this.caption = node('caption', {}, caption);
    this.cells = [];
    this.numbers = kw <= 7;
    const rows = Array.from({length: kh}, () => node('tr', {}, ...Array.from({length: kw}, () => {
      const cell = node('td');
      this.cells.push(cell);
      return cell;
    })));
    this.root = node('table', {className: 'filter'}, this.caption, node('tbody', {}, ...rows));
    this.root.style.setProperty('--taps', Math.max(kh, kw));
    this.root.style.setProperty('--across', kw);
  }

  show(values, limit, ramp, caption) {
    if (caption !== undefined) this.caption.textContent = caption;
    values.forEach((value, t) => {
      const cell = this.cells[t];
      const hex = ramp.css(value, -limit, limit);
      cell.style.background = hex;
      cell.dataset.value = value;
      if (this.numbers) {
        cell.textContent = hundredths(value);
        cell.style.color = inkOn(hex);
      }
    });
  }
}

// A row of filters: what a pixel has, what it is seen against, and the difference.
class FilterRow {
  constructor(app, layer, title) {
    this.app = app;
    this.layer = layer;
    this.title = title;
    this.heading = node('h3');
    const captions = ['effective', layer.reference, 'difference'];
    this.tables = captions.map((caption) => new FilterTable(caption, layer.kernel));
    this.root = node('div', {className: 'filter-row'}, this.heading,
      node('div', {className: 'filters'}, ...this.tables.map((table) => table.root)));
  }

  show(place, channel) {
    const {app, layer} = this;
    const effective = layer.effective(place, channel);
    const against = layer.against(place, channel);
    this.heading.textContent = this.title(place);
    this.tables[0].show(effective, layer.limit, app.diverging);
    this.tables[1].show(against, layer.limit, app.diverging);
    this.tables[2].show(
      effective.map((value, t) => value - against[t]), layer.own_limit, app.diverging);
  }
}

// A small picture of a filter.
function thumbnail(app, values, [kh, kw], limit) {
  const canvas = node('canvas', {width: 8 * kw, height: 8 * kh, 'aria-hidden': 'true'});
  const context = canvas.getContext('2d');
  values.forEach((value, t) => {
    context.fillStyle = app.diverging.css(value, -limit, limit);
    context.fillRect(8 * (t % kw), 8 * Math.floor(t / kw), 8, 8);
  });
  return canvas;
}

// The image around a pixel's taps, large: the coarse grid, and where the pixel takes from.
class Lens {
  constructor(app) {
    this.app = app;
    this.canvas = node('canvas', {className: 'lens', role: 'img', width: 264, height: 264});
  }

  draw(layer, place, filter) {
    const {app, canvas} = this;
    const context = canvas.getContext('2d');
    const squares = layer.footprint(place);
    const [left, top] = squares[0];
    const [, , right, bottom] = squares[squares.length - 1];
    const reach = 1.25 * Math.max(right - left, bottom - top);
    const scale = canvas.width / reach;
    const origin = [(left + right - reach) / 2, (top + bottom - reach) / 2];
    const toScreen = (x, y) => [(x - origin[0]) * scale, (y - origin[1]) * scale];
    context.fillStyle = '#7a8590';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    const {photo, size} = app.scene;
    const [x, y] = toScreen(0, 0);
    context.drawImage(photo, x, y, size[1] * scale, size[0] * scale);
    drawFootprint(context, app, layer, place, filter, layer.limit, toScreen, true);
    const strongest = filter.reduce((best, value, t) => (Math.abs(value) > Math.abs(filter[best]) ? t : best), 0);
    const [kh, kw] = layer.kernel;
    const down = Math.floor(strongest / kw) - (kh - 1) / 2;
    const across = strongest % kw - (kw - 1) / 2;
    const where = [down && `${Math.abs(down)} ${down < 0 ? 'up' : 'down'}`,
      across && `${Math.abs(across)} ${across < 0 ? 'left' : 'right'}`].filter(Boolean).join(', ');
    canvas.setAttribute('aria-label', `Where the pixel takes from: most, ` +
      `${hundredths(filter[strongest])} hundredths, ${where ? `from the pixel ${where}` : 'from the middle'}`);
  }
}
