// The keyboard, and the list of its keys.

function keysOf(app) {
  const move = (dx, dy) => (event) => {
    const far = event.shiftKey ? 10 : 1;
    const {x, y} = app.state.pointer;
    app.point({x: x + far * dx, y: y + far * dy});
  };
  return [
    {keys: ['ArrowLeft'], run: move(-1, 0), stage: true},
    {keys: ['ArrowRight'], run: move(1, 0), stage: true},
    {keys: ['ArrowUp'], run: move(0, -1), stage: true},
    {keys: ['ArrowDown'], run: move(0, 1), stage: true, show: ['← ↑ → ↓', 'move the cursor (with Shift: ten pixels)']},
    {keys: ['Enter', ' '], run: () => app.tap(app.state.pointer), stage: true, show: ['Enter', 'pin the pixel, or unpin it']},
    {keys: ['Escape'], run: () => app.escape(), show: ['Escape', 'unpin; choose nothing; close']},
    {keys: ['.', '>'], run: () => app.stepLayer(1), show: ['.', 'next layer']},
    {keys: [',', '<'], run: () => app.stepLayer(-1), show: [',', 'layer before']},
    {keys: ['o'], run: () => app.stepOverlay(1), show: ['o', 'next overlay']},
    {keys: ['O'], run: () => app.stepOverlay(-1), show: ['O', 'overlay before']},
    {keys: ['h'], run: () => app.hide(), show: ['h', 'hide the overlay, or show it again']},
    {keys: ['v'], run: () => app.split(), show: ['v', 'two views, or one']},
    {keys: ['s'], run: () => app.set({active: (app.state.active + 1) % app.state.views.length}), show: ['s', 'go to the other view']},
    {keys: ['c'], run: () => app.stepChannel(1), show: ['c', 'next channel']},
    {keys: ['C'], run: () => app.stepChannel(-1), show: ['C', 'channel before']},
    {keys: ['i'], run: () => app.stepImage(1), show: ['i', 'next image']},
    {keys: ['+', '='], run: () => app.zoomAt(app.state.pointer, 1.5), show: ['+', 'zoom in at the cursor']},
    {keys: ['-'], run: () => app.zoomAt(app.state.pointer, 1 / 1.5), show: ['−', 'zoom out']},
    {keys: ['0'], run: () => app.set({zoom: [1, 0, 0]}), show: ['0', 'the whole image']},
    {keys: ['l'], run: () => app.set({outlines: !app.state.outlines}), show: ['l', 'lines around the classes']},
    {keys: ['p'], run: () => app.set({palette: app.state.palette === 'own' ? 'clear' : 'own'}), show: ['p', 'colours of the dataset, or clear ones']},
    {keys: ['k'], run: () => app.set({tab: 'kinds'}), show: ['k', 'kinds of filters']},
    {keys: ['f'], run: () => app.set({tab: 'choose'}), show: ['f', 'choose pixels']},
    {keys: ['a'], run: () => app.set({tab: 'about'}), show: ['a', 'about the layer']},
    {keys: ['g'], run: () => app.guide.open(), show: ['g', 'what you see, in four steps']},
    {keys: ['d'], run: () => app.theme(), show: ['d', 'dark, or light']},
    {keys: ['?'], run: () => element('keys').showModal(), show: ['?', 'this list']},
  ];
}

function listenToKeys(app) {
  const keys = keysOf(app);
  element('key-list').replaceChildren(...keys.filter(({show}) => show).flatMap(({show: [key, does]}) =>
    [node('dt', {}, node('kbd', {}, key)), node('dd', {}, does)]));
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || element('keys').open) return;
    const {tagName, type} = event.target;
    const typing = tagName === 'SELECT' || (tagName === 'INPUT' && type !== 'checkbox');
    if (typing && event.key !== 'Escape') return;
    const found = keys.find((one) => one.keys.includes(event.key));
    if (!found || (found.stage && !event.target.closest?.('.stage') && event.target !== document.body)) return;
    event.preventDefault();
    found.run(event);
  });
}
