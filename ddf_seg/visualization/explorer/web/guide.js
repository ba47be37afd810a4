// What you see, in four steps with this image.

class Guide {
  constructor(app) {
    this.app = app;
    this.step = 0;
    element('guide-next').addEventListener('click', () => this.go(this.step + 1));
    element('guide-back').addEventListener('click', () => this.go(this.step - 1));
    element('guide-close').addEventListener('click', () => this.close());
    element('open-guide').addEventListener('click', () => this.open());
  }

  open() {
    element('guide').hidden = false;
    this.go(0);
    element('guide-next').focus();
  }

  close() {
    element('guide').hidden = true;
    element('open-guide').focus();
  }

  go(step) {
    const {steps} = this.app.scene;
    if (step >= steps.length) {
      this.close();
      return;
    }
    this.step = Math.max(step, 0);
    const {title, text, state} = steps[this.step];
    element('guide-title').textContent = `${this.step + 1} of ${steps.length}: ${title}`;
    element('guide-text').textContent = text;
    element('guide-back').disabled = this.step === 0;
    element('guide-next').textContent = this.step === steps.length - 1 ? 'Done' : 'Next';
    this.app.set({pin: null, choice: null, zoom: [1, 0, 0], active: 0, channel: null, ...state});
  }
}
