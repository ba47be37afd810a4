// What can lie over the image, and its legend.

function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && name !== 'list') made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function swatch(colour, text, title = '') {
  const mark = node('i');
  mark.style.background = colour;
  return node('span', {title}, mark, text);
}

function bar(ramp, low, high, before = '', written = short) {
  const mark = node('i', {className: 'bar'});
  mark.style.background = ramp.gradient();
  return node('span', {className: 'scale'}, before, ` ${written(low)} `, mark, ` ${written(high)}`);
}

// A number in few characters.
function short(value) {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace('-', '') : text).replace('-', '−');
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

// [id, name] of what there is for a layer of a network on an image.
function overlaysOf(scene, run, meta) {
  const found = [['none', 'the image alone'], ['prediction', 'predicted classes']];
  if (scene.truthMeta) found.push(['truth', 'true classes'], ['error', 'errors']);
  if (scene.runs[run].doubt) found.push(['doubt', 'doubt of the network']);
  if (!meta.pixels_alike) found.push(['colours', 'filter colours']);
  if (meta.kinds) found.push(['kinds', 'kinds of filters']);
  for (const {name} of meta.maps) found.push([`map ${name}`, name]);
  if (!meta.pixels_alike) found.push(['similarity', 'similarity to the pinned']);
  return found;
}

// The middle 98 % of the values, from a sample.
function middle(values) {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const sample = Float32Array.from(
    {length: Math.floor((values.length - 1) / step) + 1}, (_, i) => values[i * step]).sort();
  const at = (share) => sample[Math.round(share * (sample.length - 1))];
  return [at(0.01), at(0.99)];
}

function classLegend(scene, labels, colours, names) {
  const counts = new Uint32Array(256);
  for (let p = 0; p < labels.length; p++) counts[labels[p]]++;
  // All that is predicted or true, so that the legends of both are one.
  return scene.classes.map((index) =>
    swatch(css(colours[index]), names[index], percent(counts[index] / labels.length)));
}

// Pixels (packed), their rows and columns, what they cover of the image, and the legend.
function makeOverlay(app, view, scene, layer) {
  const {overlay, run} = view;
  const whole = {shape: scene.size, size: scene.size};
  const ofMap = {
    shape: [layer.height, layer.width],
    size: [layer.height * layer.thinning / layer.density[0],
      layer.width * layer.thinning / layer.density[1]],
  };
  const classes = (labels) => {
    const table = new Uint32Array(256);
    app.colours.forEach((colour, index) => { table[index] = rgba(...colour); });
    const pixels = new Uint32Array(labels.length);
    for (let p = 0; p < pixels.length; p++) pixels[p] = table[labels[p]];
    const legend = classLegend(scene, labels, app.colours, app.data.names);
    return {...whole, pixels, legend, labels};
  };
  const note = (text) => node('span', {}, text);
  if (overlay === 'prediction') return classes(scene.predictions[run]);
  if (overlay === 'truth') return classes(scene.truth);
  if (overlay === 'error') {
    const pixels = new Uint32Array(scene.truth.length);
    let [wrong, known] = [0, 0];
    for (let p = 0; p < pixels.length; p++) {
      if (scene.truth[p] === 255) continue;
      known++;
      if (scene.truth[p] === scene.predictions[run][p]) continue;
      pixels[p] = app.errorColour;
      wrong++;
    }
    const share = percent(wrong / Math.max(known, 1));
    return {...whole, pixels, legend: [swatch(css(app.data.error), `wrong: ${share} of the known`)]};
  }
  if (overlay === 'doubt') {
    const doubt = scene.doubts[run];
    const pixels = doubt.values.map((value) => app.sequential.packed[value]);
    const {shape} = doubt;
    return {shape, size: scene.size, pixels,
      legend: [bar(app.sequential, 0, 1, 'Entropy of the class probabilities, 0 sure:')]};
  }
  if (overlay === 'colours') {
    return {...ofMap, pixels: layer.colours(app.data.lab, app.labTable()), legend: [note(
      'Similar colours, similar filters. Grey is the mean of all pixels.')]};
  }
  if (overlay === 'kinds') {
    const table = Uint32Array.from(app.data.kindColours, (colour) => rgba(...colour));
    const pixels = new Uint32Array(layer.pixels);
    for (let p = 0; p < pixels.length; p++) pixels[p] = table[layer.kindOf[p]];
    return {...ofMap, pixels, legend: layer.kinds.shares.map((share, kind) =>
      swatch(css(app.data.kindColours[kind]), String(kind + 1), percent(share)))};
  }
  if (overlay.startsWith('map ')) {
    const map = layer.maps.find(({name}) => name === overlay.slice(4));
    const ramp = map.name === 'direction' ? app.cyclic : app.sequential;
    const pixels = Uint32Array.from(scene.mapValues(layer, map), (value) => ramp.packed[value]);
    const cells = map.shape.map((n, axis) => n * map.step / layer.density[axis]);
    return {shape: map.shape, size: cells, pixels,
      legend: [bar(ramp, map.low, map.high), note(map.meaning)]};
  }
  if (overlay === 'similarity') {
    if (!app.state.pin) return {...whole, legend: [note('Click or tap the image to pin a pixel.')]};
    const values = layer.similarities(layer.locate(app.state.pin));
    const [low, high] = middle(values);
    const pixels = new Uint32Array(values.length);
    const {packed} = app.sequential;
    const factor = 255 / (high - low || 1);
    for (let p = 0; p < pixels.length; p++) {
      const at = (values[p] - low) * factor + 0.5;
      pixels[p] = packed[at < 0 ? 0 : at > 255 ? 255 : at | 0];
    }
    return {...ofMap, pixels, low, high, legend: [bar(app.sequential, low, high,
      'Likeness to the pinned filter (cosine):')]};
  }
  return {...whole, legend: [note(app.data.note || 'Choose what lies over the image.')]};
}

// Dark lines where two labels meet.
function outlinePixels(labels, [height, width]) {
  const pixels = new Uint32Array(labels.length);
  const line = rgba(0, 0, 0, 235);
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      if ((x + 1 < width && labels[p] !== labels[p + 1])
        || (y + 1 < height && labels[p] !== labels[p + width])) pixels[p] = line;
    }
  }
  return pixels;
}
