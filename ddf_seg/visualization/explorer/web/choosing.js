// Which pixels are chosen: by class, by error, by border, or by the kind of their filters.

// Pixels within two of one that is predicted differently.
function borders(labels, [height, width], reach = 2) {
  const edge = new Uint8Array(labels.length);
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      if (x + 1 < width && labels[p] !== labels[p + 1]) edge[p] = edge[p + 1] = 1;
      if (y + 1 < height && labels[p] !== labels[p + width]) edge[p] = edge[p + width] = 1;
    }
  }
  const wide = new Uint8Array(labels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const last = Math.min(x + reach, width - 1);
      for (let i = Math.max(x - reach, 0); i <= last; i++) {
        if (edge[y * width + i]) { wide[y * width + x] = 1; break; }
      }
    }
  }
  const found = new Uint8Array(labels.length);
  for (let y = 0; y < height; y++) {
    const last = Math.min(y + reach, height - 1);
    for (let i = Math.max(y - reach, 0); i <= last; i++) {
      for (let x = 0; x < width; x++) found[y * width + x] |= wide[i * width + x];
    }
  }
  return found;
}

// A byte a pixel of the map: whether it is chosen.
function chosenPixels(layer, scene, run, choice) {
  const [by, value] = choice.split(':');
  if (by === 'kind') {
    return layer.kindOf ? layer.kindOf.map((kind) => Number(kind === Number(value))) : null;
  }
  const prediction = layer.sample(scene.predictions[run], scene.size);
  if (by === 'class') return prediction.map((label) => Number(label === Number(value)));
  if (by === 'border') {
    scene.borders[run] ??= borders(scene.predictions[run], scene.size);
    return layer.sample(scene.borders[run], scene.size);
  }
  if (!scene.truth) return null;
  const truth = layer.sample(scene.truth, scene.size);
  if (by === 'true') return truth.map((label) => Number(label === Number(value)));
  return truth.map((label, p) => Number(label !== 255 && label !== prediction[p]));
}

function nameOfChoice(choice, names) {
  const [by, value] = choice.split(':');
  return {
    kind: `kind ${Number(value) + 1}`, class: `predicted ${names[value]}`,
    true: `truly ${names[value]}`, border: 'near a border', error: 'wrongly predicted',
  }[by];
}
