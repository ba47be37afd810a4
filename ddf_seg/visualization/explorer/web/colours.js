// Colours: packed as a canvas wants them, ramps, and principal components in CIELAB.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const rgba = (r, g, b, a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const css = (colour) => `rgb(${colour.join(',')})`;
const fromHex = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

class Ramp {
  constructor(hexes) {
    this.hexes = hexes;
    this.packed = Uint32Array.from(hexes, (hex) => rgba(...fromHex(hex)));
  }

  // The place of a value between low and high.
  index(value, low, high) {
    return clamp(Math.round((value - low) / (high - low || 1) * 255), 0, 255);
  }

  css(value, low, high) {
    return this.hexes[this.index(value, low, high)];
  }

  gradient() {
    return `linear-gradient(90deg, ${this.hexes.filter((_, i) => i % 15 === 0).join(',')})`;
  }
}

// The ink that is read on a colour, black or white: by WCAG's contrast.
function inkOn(hex) {
  const [r, g, b] = fromHex(hex).map((v) =>
    (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000000' : '#ffffff';
}

// 64 steps along each component.
const STEPS = 64;

function labTable({centre, reach}) {
  const curve = (v) => 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
  const light = (f) => (f > 6 / 29 ? f ** 3 : (f - 16 / 116) / 7.787);
  const bend = (v) => Math.round(curve(clamp(v, 0, 1)));
  const table = new Uint32Array(STEPS ** 3);
  const place = (i, axis) => centre[axis] + reach[axis] * (2 * i / (STEPS - 1) - 1);
  for (let l = 0, at = 0; l < STEPS; l++) {
    const fy = (place(l, 0) + 16) / 116;
    const y = light(fy);
    for (let a = 0; a < STEPS; a++) {
      const x = 0.950456 * light(fy + place(a, 1) / 500);
      for (let b = 0; b < STEPS; b++, at++) {
        const z = 1.088754 * light(fy - place(b, 2) / 200);
        table[at] = rgba(
          bend(3.240479 * x - 1.53715 * y - 0.498535 * z),
          bend(-0.969256 * x + 1.875991 * y + 0.041556 * z),
          bend(0.055648 * x - 0.204043 * y + 1.057311 * z));
      }
    }
  }
  return table;
}
