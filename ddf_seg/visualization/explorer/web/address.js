// The state in the address, so that a link shows what was seen.

function toAddress(state) {
  const part = {i: state.image, a: state.active, t: state.tab};
  state.views.forEach(({layer, overlay, run}, number) => {
    part[`v${number}`] = [layer, overlay, run].join('~');
  });
  part.p = `${state.pointer.x},${state.pointer.y}`;
  if (state.pin) part.n = `${state.pin.x},${state.pin.y}`;
  if (state.zoom[0] > 1) part.z = state.zoom.map((value) => Number(value.toFixed(2))).join(',');
  if (state.choice) part.c = state.choice;
  if (state.channel !== null) part.k = state.channel;
  part.o = state.opacity;
  part.l = Number(state.outlines);
  part.q = state.palette;
  return `#${new URLSearchParams(part)}`;
}

// What an address says, as far as it fits the page.
function fromAddress(hash, data) {
  const part = new URLSearchParams(hash.replace(/^#/, ''));
  const found = {};
  const number = (name, most) => {
    const value = Number(part.get(name));
    return part.has(name) && Number.isInteger(value) && value >= 0 && value <= most ? value : null;
  };
  const image = number('i', data.images.length - 1);
  if (image !== null) found.image = image;
  const scene = data.images[image ?? 0];
  const point = (name) => {
    const [x, y] = (part.get(name) ?? '').split(',').map(Number);
    const inside = x >= 0 && y >= 0 && x < scene.size[1] && y < scene.size[0];
    return inside ? {x: Math.floor(x), y: Math.floor(y)} : null;
  };
  const views = ['v0', 'v1'].map((name) => {
    const [layer, overlay, run] = (part.get(name) ?? '').split('~');
    const meta = scene.runs[run]?.layers[layer];
    const known = meta && overlaysOf({...scene, truthMeta: scene.truth}, run, meta);
    return known?.some(([id]) => id === overlay) ? {layer, overlay, run: Number(run)} : null;
  }).filter(Boolean);
  if (views.length) found.views = views;
  const active = number('a', Math.max(views.length - 1, 0));
  found.active = active ?? 0;
  if (['kinds', 'choose', 'about'].includes(part.get('t'))) found.tab = part.get('t');
  if (point('p')) found.pointer = point('p');
  if (part.size) found.pin = point('n');
  const zoom = (part.get('z') ?? '').split(',').map(Number);
  if (zoom.length === 3 && zoom.every(Number.isFinite)) found.zoom = [clamp(zoom[0], 1, 64), zoom[1], zoom[2]];
  else if (part.size) found.zoom = [1, 0, 0];
  const choice = part.get('c');
  if (choice && /^(border|error|class:\d+|true:\d+|kind:\d+)$/.test(choice)) found.choice = choice;
  else if (part.size) found.choice = null;
  if (part.has('k')) found.channel = number('k', 1e6);
  const opacity = Number(part.get('o'));
  if (part.has('o') && opacity >= 0 && opacity <= 1) found.opacity = opacity;
  if (part.has('l')) found.outlines = part.get('l') === '1';
  if (['own', 'clear'].includes(part.get('q'))) found.palette = part.get('q');
  return found;
}
