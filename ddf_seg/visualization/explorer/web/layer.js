// One DDF call of one network on one image: its filters, and where they stand in the image.

class Layer {
  constructor(meta, own, channelFilters, kinds) {
    Object.assign(this, meta);
    // Of each pixel its own part, as integers: `scale` times them are the values.
    this.quantised = own;
    this.channelFilters = channelFilters;
    this.kindOf = kinds;
    this.height = meta.rows.length;
    this.width = meta.columns.length;
    this.pixels = this.height * this.width;
    this.taps = meta.kernel[0] * meta.kernel[1];
    this.depth = this.groups * this.taps;
  }

  static async load(meta) {
    const width = meta.columns.length;
    const [own, channel, kinds] = await Promise.all([
      unpack(meta.filters, width), inflate(meta.channel_filters),
      meta.kinds && unpack(meta.kinds.labels, width)]);
    return new Layer(meta, new Int8Array(own.buffer), new Float32Array(channel), kinds);
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

  group(channel) {
    return Math.floor(channel / (this.channels / this.groups));
  }

  own({index}, group) {
    return Array.from({length: this.taps}, (_, t) =>
      this.quantised[(group * this.taps + t) * this.pixels + index] * this.scale);
  }

  // With what all pixels of its phase share: without interpolation where the filters replace that.
  spatial(place, group) {
    const r = this.scale_factor;
    const shared = this.shared[(place.row % r) * r + (place.column % r)];
    return this.own(place, group).map((value, t) => value + shared[group * this.taps + t]);
  }

  interpolation({row, column}) {
    const [rows, columns] = this.interpolated;
    return rows.flatMap((ofRow) => columns.map((ofColumn) => ofRow[row] * ofColumn[column]));
  }

  ofChannel({row, column}, channel) {
    const r = this.scale_factor;
    const phase = this.phases > 1 ? (row % r) * r + (column % r) : 0;
    const start = (phase * this.channels + channel) * this.taps;
    return this.channelFilters.subarray(start, start + this.taps);
  }

  combine(spatial, ofChannel) {
    return spatial.map((value, t) => (this.multiplies ? value * ofChannel[t] : value + ofChannel[t]));
  }

  // What the pixel is filtered with, in all.
  effective(place, channel) {
    const spatial = this.spatial(place, this.group(channel));
    if (this.interpolates) {
      return this.interpolation(place).map((value, t) => value + spatial[t]);
    }
    const combined = this.combine(spatial, this.ofChannel(place, channel));
    if (!this.gain || !this.interpolated) return combined;
    return this.interpolation(place).map((value, t) => value + this.gain[channel] * combined[t]);
  }

  // What it is seen against, as `reference` names it.
  against(place, channel) {
    if (this.reference === 'interpolation') return this.interpolation(place);
    const ofChannel = this.ofChannel(place, channel);
    if (!this.multiplies) return Array.from(ofChannel);
    const start = this.group(channel) * this.taps;
    return this.combine(this.mean.slice(start, start + this.taps), ofChannel);
  }

  // Runs over the pixels in blocks that the processor's cache holds.
  blocks(run) {
    for (let start = 0; start < this.pixels; start += 2048) {
      run(start, Math.min(start + 2048, this.pixels));
    }
  }

  lengths() {
    if (this.cachedLengths) return this.cachedLengths;
    const {quantised, pixels, depth} = this;
    const found = new Float32Array(pixels);
    this.blocks((start, end) => {
      for (let d = 0; d < depth; d++) {
        for (let p = start, i = d * pixels + start; p < end; p++, i++) {
          found[p] += quantised[i] * quantised[i];
        }
      }
      for (let p = start; p < end; p++) found[p] = Math.sqrt(found[p]);
    });
    this.cachedLengths = found;
    return found;
  }

  // The cosine between the own part of a pixel and that of every other.
  similarities(place) {
    const {quantised, pixels, depth} = this;
    const lengths = this.lengths();
    const sums = new Float32Array(pixels);
    const mine = Float32Array.from({length: depth}, (_, d) => quantised[d * pixels + place.index]);
    const length = lengths[place.index];
    this.blocks((start, end) => {
      for (let d = 0; d < depth; d++) {
        const factor = mine[d];
        for (let p = start, i = d * pixels + start; p < end; p++, i++) {
          sums[p] += factor * quantised[i];
        }
      }
      for (let p = start; p < end; p++) sums[p] /= Math.max(length * lengths[p], 1e-12);
    });
    return sums;
  }

  cosine(a, b) {
    let [sum, ofA, ofB] = [0, 0, 0];
    for (let i = 0, at = 0; i < this.depth; i++, at += this.pixels) {
      const [u, v] = [this.quantised[at + a.index], this.quantised[at + b.index]];
      sum += u * v;
      ofA += u * u;
      ofB += v * v;
    }
    return sum / Math.max(Math.sqrt(ofA * ofB), 1e-12);
  }

  // Principal components as colours.
  colours(lab, table) {
    if (this.cachedColours) return this.cachedColours;
    const {quantised, pixels, depth, scale, offsets} = this;
    const half = (STEPS - 1) / 2;
    // In steps of the table, with 0 at its edge
    const factor = half / lab.range;
    const [first, second, third] = this.components.map((axis) =>
      Float32Array.from(axis, (value) => value * scale * factor));
    const [u, v, w] = [0, 1, 2].map(() => new Float32Array(2048));
    const [a, b, c] = offsets.map((offset) => half + 0.5 - offset * factor);
    const found = new Uint32Array(pixels);
    const most = STEPS - 1;
    this.blocks((start, end) => {
      u.fill(a);
      v.fill(b);
      w.fill(c);
      for (let d = 0; d < depth; d++) {
        const [x, y, z] = [first[d], second[d], third[d]];
        for (let p = 0, i = d * pixels + start; i < d * pixels + end; p++, i++) {
          const value = quantised[i];
          u[p] += x * value;
          v[p] += y * value;
          w[p] += z * value;
        }
      }
      for (let p = start, k = 0; p < end; p++, k++) {
        const l = u[k] < 0 ? 0 : u[k] > most ? most : u[k] | 0;
        const m = v[k] < 0 ? 0 : v[k] > most ? most : v[k] | 0;
        const n = w[k] < 0 ? 0 : w[k] > most ? most : w[k] | 0;
        found[p] = table[(l * STEPS + m) * STEPS + n];
      }
    });
    this.cachedColours = found;
    return found;
  }

  // The mean own part of the pixels of a mask, and of the others.
  means(mask, group) {
    let chosen = 0;
    for (let p = 0; p < this.pixels; p++) chosen += mask[p];
    const inside = [];
    const outside = [];
    for (let t = 0; t < this.taps; t++) {
      const start = (group * this.taps + t) * this.pixels;
      let [all, own] = [0, 0];
      for (let p = 0; p < this.pixels; p++) {
        all += this.quantised[start + p];
        own += mask[p] * this.quantised[start + p];
      }
      inside.push(own * this.scale / Math.max(chosen, 1));
      outside.push((all - own) * this.scale / Math.max(this.pixels - chosen, 1));
    }
    return {chosen, inside, outside};
  }

  // The labels (of the image, `width` wide) at the pixels that the page keeps.
  sample(labels, [height, width]) {
    const at = (kept, axis, most) => kept.map((full) =>
      Math.min(Math.floor((full + 0.5) / this.density[axis]), most - 1));
    const columns = at(this.columns, 1, width);
    const found = new Uint8Array(this.pixels);
    at(this.rows, 0, height).forEach((y, row) => columns.forEach((x, column) => {
      found[row * this.width + column] = labels[y * width + x];
    }));
    return found;
  }

  // The pixel of the features that the filter is centred on.
  centre({row, column}) {
    return [row, column].map((at, axis) => (this.upsamples
      ? Math.min(Math.floor(at / this.scale_factor), this.features[axis] - 1)
      : at * this.stride[axis]));
  }

  // Where the taps stand in the image: [left, top, right, bottom] of each.
  footprint(place) {
    const centre = this.centre(place);
    const [kh, kw] = this.kernel;
    return Array.from({length: this.taps}, (_, t) => {
      const row = centre[0] + (Math.floor(t / kw) - (kh - 1) / 2) * this.dilation[0];
      const column = centre[1] + (t % kw - (kw - 1) / 2) * this.dilation[1];
      const [down, across] = this.coarse;
      return [column / across, row / down, (column + 1) / across, (row + 1) / down];
    });
  }

  // The pixel of the map in the image: [left, top, right, bottom].
  square({row, column}) {
    const [down, across] = this.density;
    return [column / across, row / down, (column + 1) / across, (row + 1) / down];
  }
}
