"use strict";
/* Runs the CIFAR ResNets and AirNets of export_network as plain loops over typed arrays, and reduces a photo to 32 x 32.

   Convolutions of stride 1 are Winograd's F(4x4, 3x3) (Lavin & Gray, "Fast Algorithms for Convolutional Neural
   Networks", CVPR 2016): a tile of 4 x 4 outputs from 6 x 6 inputs takes 36 multiplications where the definition takes
   144. Those of stride 2 are computed at every pixel, too: for the four of a tile that are kept the definition takes as
   many. All end in the one hot loop, `multiply`, whose 16 sums stay in registers.

   Stage outputs are planes [channel][row][column] with a border of one zero pixel, so that no loop checks where the
   image ends. All networks share the buffers; the next call overwrites them. */

const KDInfer = (() => {
  const SIZE = 32;
  const GAP = 8; // keeps the 36 frequencies of a patch out of the same cache lines

  /** IEEE half precision, little-endian bytes, to Float32Array. */
  function fromFloat16(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values = new Float32Array(bytes.byteLength >> 1);
    for (let i = 0; i < values.length; i++) {
      const half = view.getUint16(2 * i, true);
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
      values[i] = half & 32768 ? -size : size;
    }
    return values;
  }

  /** A convolution with its batch norm folded in (Jacob et al. 2018, section 3.2), its kernel [out, in, 9] repacked. */
  function loadConvolution(part, values, epsilon, floor) {
    const { in: inputs, out: outputs, stride, at } = part;
    const length = inputs * 9;
    const kernel = new Float64Array(outputs * length);
    const bias = new Float64Array(outputs);
    const norm = at + outputs * length;
    for (let k = 0; k < outputs; k++) {
      const scale = values[norm + k] / Math.sqrt(values[norm + 3 * outputs + k] + epsilon);
      bias[k] = values[norm + outputs + k] - values[norm + 2 * outputs + k] * scale;
      for (let i = k * length; i < (k + 1) * length; i++) kernel[i] = values[at + i] * scale;
    }
    return { inputs, outputs, stride, bias, floor, kernel: packFrequencies(kernel, inputs, outputs) };
  }

  /** Kernels for `winograd`: G g G^T (Lavin & Gray, F(4x4, 3x3)) as [36][out / 4][in][4]. */
  function packFrequencies(kernel, inputs, outputs) {
    const G = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
      [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]; // prettier-ignore
    const packed = new Float32Array(36 * outputs * inputs);
    for (let k = 0; k < outputs; k++)
      for (let c = 0; c < inputs; c++) {
        const g = (k * inputs + c) * 9;
        for (let f = 0; f < 36; f++) {
          const down = G[(f / 6) | 0];
          const across = G[f % 6];
          let sum = 0;
          for (let i = 0; i < 9; i++) sum += down[(i / 3) | 0] * across[i % 3] * kernel[g + i];
          packed[f * outputs * inputs + ((k >> 2) * inputs + c) * 4 + (k & 3)] = sum;
        }
      }
    return packed;
  }

  /** A network ready to run, from export_network's description and its float16 weights (Uint8Array). */
  function load(description, weights) {
    const values = fromFloat16(weights);
    const { kind, epsilon, stem, stages, head } = description.graph;
    const { in: features, out: classes, at } = head;
    const pooled = kind === "air.AirNet"; // its classifier has no bias
    const end = at + classes * (features + !pooled);
    if (values.length !== end) throw new Error(`${description.name}: its weights are truncated.`);
    const convolution = (part) => loadConvolution(part, values, epsilon, pooled ? -Infinity : 0);
    return {
      description,
      stem: pooled ? { outputs: stem.out, weights: values.slice(stem.at) } : convolution(stem),
      stages: stages.map((blocks) => blocks.map((block) => block.map(convolution))),
      head: { features, classes, weights: values.slice(at) },
    };
  }

  const buffers = new Map();

  /** The buffer of this name and length: zero at first, then with the previous call's values. */
  function buffer(name, length) {
    const key = `${name} ${length}`;
    if (!buffers.has(key)) buffers.set(key, new Float32Array(length));
    return buffers.get(key);
  }

  function planes(name, channels, side) {
    return buffer(name, channels * (side + 2) * (side + 2));
  }

  /** The hot loop: 4 outputs (kernel) at 4 places (patches), sums [4][4] over `depth` products each. */
  function multiply(kernel, k, patches, p, sums, s, depth) {
    let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0; // prettier-ignore
    let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0; // prettier-ignore
    for (const end = k + 4 * depth; k < end; k += 4, p += 4) {
      const p0 = patches[p], p1 = patches[p + 1], p2 = patches[p + 2], p3 = patches[p + 3]; // prettier-ignore
      let w = kernel[k];
      a0 += w * p0; a1 += w * p1; a2 += w * p2; a3 += w * p3; // prettier-ignore
      w = kernel[k + 1];
      b0 += w * p0; b1 += w * p1; b2 += w * p2; b3 += w * p3; // prettier-ignore
      w = kernel[k + 2];
      c0 += w * p0; c1 += w * p1; c2 += w * p2; c3 += w * p3; // prettier-ignore
      w = kernel[k + 3];
      d0 += w * p0; d1 += w * p1; d2 += w * p2; d3 += w * p3; // prettier-ignore
    }
    sums[s] = a0; sums[s + 1] = a1; sums[s + 2] = a2; sums[s + 3] = a3; // prettier-ignore
    sums[s + 4] = b0; sums[s + 5] = b1; sums[s + 6] = b2; sums[s + 7] = b3; // prettier-ignore
    sums[s + 8] = c0; sums[s + 9] = c1; sums[s + 10] = c2; sums[s + 11] = c3; // prettier-ignore
    sums[s + 12] = d0; sums[s + 13] = d1; sums[s + 14] = d2; sums[s + 15] = d3; // prettier-ignore
  }

  const tile = new Float64Array(36);

  /** B^T d B of the 6 x 6 inputs at `from`; frequency f goes to `to + f * step`. */
  function transformInput(source, from, width, target, to, step) {
    for (let row = 0; row < 6; row++, from += width) {
      const d0 = source[from], d1 = source[from + 1], d2 = source[from + 2]; // prettier-ignore
      const d3 = source[from + 3], d4 = source[from + 4], d5 = source[from + 5]; // prettier-ignore
      const even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1); // prettier-ignore
      const at = 6 * row;
      tile[at] = 4 * d0 - 5 * d2 + d4;
      tile[at + 1] = even + odd;
      tile[at + 2] = even - odd;
      tile[at + 3] = near + far;
      tile[at + 4] = near - far;
      tile[at + 5] = 4 * d1 - 5 * d3 + d5;
    }
    for (let column = 0; column < 6; column++) {
      const d0 = tile[column], d1 = tile[column + 6], d2 = tile[column + 12]; // prettier-ignore
      const d3 = tile[column + 18], d4 = tile[column + 24], d5 = tile[column + 30]; // prettier-ignore
      const even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1); // prettier-ignore
      const at = to + column * step;
      target[at] = 4 * d0 - 5 * d2 + d4;
      target[at + 6 * step] = even + odd;
      target[at + 12 * step] = even - odd;
      target[at + 18 * step] = near + far;
      target[at + 24 * step] = near - far;
      target[at + 30 * step] = 4 * d1 - 5 * d3 + d5;
    }
  }

  /** A^T m A to 4 x 4 outputs at `to`, with bias, with the value that is there already (`residual` 1, else 0), at least
      `floor`: 0 is ReLU. */
  function transformOutput(sums, from, step, bias, residual, floor, target, to, width) {
    for (let column = 0; column < 6; column++) {
      const at = from + column * step;
      const m1 = sums[at + 6 * step], m2 = sums[at + 12 * step]; // prettier-ignore
      const m3 = sums[at + 18 * step], m4 = sums[at + 24 * step]; // prettier-ignore
      const a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4; // prettier-ignore
      tile[column] = sums[at] + a + c;
      tile[column + 6] = b + 2 * d;
      tile[column + 12] = a + 4 * c;
      tile[column + 18] = b + 8 * d + sums[at + 30 * step];
    }
    for (let row = 0; row < 4; row++, to += width) {
      const at = 6 * row;
      const m1 = tile[at + 1], m2 = tile[at + 2], m3 = tile[at + 3], m4 = tile[at + 4]; // prettier-ignore
      const a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4; // prettier-ignore
      target[to] = Math.max(floor, tile[at] + a + c + bias + residual * target[to]);
      target[to + 1] = Math.max(floor, b + 2 * d + bias + residual * target[to + 1]);
      target[to + 2] = Math.max(floor, a + 4 * c + bias + residual * target[to + 2]);
      target[to + 3] = Math.max(floor, b + 8 * d + tile[at + 5] + bias + residual * target[to + 3]);
    }
  }

  /** A 3 x 3 convolution of stride 1, and ReLU where `floor` is 0, four tiles at a time: transform, 36 products,
      transform back. */
  function winograd(layer, source, side, target, residual) {
    const { inputs, outputs, kernel, bias, floor } = layer;
    const width = side + 2, plane = width * width, across = side >> 2; // prettier-ignore
    const patchStep = 4 * inputs + GAP, sumStep = 4 * outputs + GAP; // prettier-ignore
    const patches = buffer("patches", 36 * patchStep), sums = buffer("sums", 36 * sumStep); // prettier-ignore
    const place = (at) => 4 * (((at / across) | 0) * width + (at % across));
    for (let first = 0; first < across * across; first += 4) {
      for (let t = 0; t < 4; t++) {
        const from = place(first + t);
        for (let c = 0; c < inputs; c++)
          transformInput(source, from + c * plane, width, patches, 4 * c + t, patchStep);
      }
      for (let f = 0; f < 36; f++)
        for (let k = 0; k < outputs; k += 4)
          multiply(kernel, (f * outputs + k) * inputs, patches, f * patchStep, sums, f * sumStep + 4 * k, inputs);
      for (let t = 0; t < 4; t++) {
        const to = place(first + t) + width + 1;
        for (let k = 0; k < outputs; k++)
          transformOutput(sums, 4 * k + t, sumStep, bias[k], residual, floor, target, to + k * plane, width);
      }
    }
  }

  /** Every second pixel: what a stride of 2 leaves. New channels are zero, half of them in front (option A's shortcut). */
  function subsample(source, channels, side, target, channelsOut) {
    const width = side + 2, wide = 2 * side + 2, before = (channelsOut - channels) >> 1; // prettier-ignore
    target.fill(0);
    for (let c = 0; c < channels; c++)
      for (let row = 0; row < side; row++)
        for (let column = 0; column < side; column++)
          target[((c + before) * width + row + 1) * width + column + 1] =
            source[(c * wide + 2 * row + 1) * wide + 2 * column + 1];
    return target;
  }

  /** The mean over channels of a stage's absolute output: its attention map [side * side] (power 1), not normalized. */
  function attentionMap(source, channels, side, width = side + 2) {
    const map = new Float32Array(side * side);
    for (let row = 0; row < side; row++)
      for (let column = 0; column < side; column++) {
        let sum = 0;
        for (let c = 0; c < channels; c++) sum += Math.abs(source[(c * width + row + 1) * width + column + 1]);
        map[row * side + column] = sum / channels;
      }
    return map;
  }

  /** x times the normal distribution function, with erf as in Abramowitz & Stegun 7.1.26, to 1.5e-7. */
  function gelu(x) {
    const z = Math.abs(x) * Math.SQRT1_2, t = 1 / (1 + 0.3275911 * z); // prettier-ignore
    const sum = 0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)));
    const rest = 0.5 * x * t * sum * Math.exp(-z * z);
    return x > 0 ? x - rest : rest;
  }

  /** The 2 x 2 convolution of an AirNet, without a border, and GELU: 31 pixels a side, in planes of 32. */
  function whiten({ outputs, weights }, image) {
    const width = SIZE + 2, plane = width * width, target = planes("air 32", outputs, SIZE); // prettier-ignore
    for (let k = 0; k < outputs; k++)
      for (let row = 1; row < SIZE; row++)
        for (let column = 1; column < SIZE; column++) {
          let sum = weights[12 * outputs + k];
          for (let c = 0, w = 12 * k; c < 3; c++, w += 4) {
            const at = c * plane + row * width + column;
            sum += weights[w] * image[at] + weights[w + 1] * image[at + 1];
            sum += weights[w + 2] * image[at + width] + weights[w + 3] * image[at + width + 1];
          }
          target[k * plane + row * width + column] = gelu(sum);
        }
    return target;
  }

  /** Planes of `room` pixels a side, of which the first `side` count: GELU of the largest of `size` x `size` inputs. */
  function poolAndActivate(source, channels, roomIn, size, side, room, name) {
    const widthIn = roomIn + 2, width = room + 2, target = planes(name, channels, room); // prettier-ignore
    for (let c = 0; c < channels; c++)
      for (let row = 0; row < side; row++)
        for (let column = 0; column < side; column++) {
          let most = -Infinity;
          for (let i = 0; i < size; i++)
            for (let j = 0; j < size; j++)
              most = Math.max(most, source[(c * widthIn + row * size + i + 1) * widthIn + column * size + j + 1]);
          target[(c * width + row + 1) * width + column + 1] = gelu(most);
        }
    return target;
  }

  /** The same for an AirNet. A plane's side is a multiple of 4, at least 8, for `winograd`; beyond the image it is 0. */
  function runPooled(network, image) {
    let x = whiten(network.stem, image);
    let side = SIZE - 1, room = SIZE, channels = 0; // prettier-ignore
    const maps = [];
    for (const [[first, second]] of network.stages) {
      channels = first.outputs;
      const wide = planes("wide", channels, room);
      winograd(first, x, room, wide, 0);
      const roomIn = room;
      side >>= 1;
      room = Math.max(8, roomIn >> 1);
      const middle = poolAndActivate(wide, channels, roomIn, 2, side, room, `middle ${side}`);
      const full = planes("full", channels, room);
      winograd(second, middle, room, full, 0);
      x = poolAndActivate(full, channels, room, 1, side, room, `air ${side}`);
      maps.push(attentionMap(x, channels, side, room + 2));
    }
    const { features, classes, weights } = network.head;
    const { scale } = network.description.graph.head;
    const logits = new Float64Array(classes);
    for (let c = 0; c < features; c++) {
      let most = -Infinity;
      for (let row = 1; row <= side; row++)
        for (let column = 1; column <= side; column++)
          most = Math.max(most, x[(c * (room + 2) + row) * (room + 2) + column]);
      for (let k = 0; k < classes; k++) logits[k] += scale * weights[k * features + c] * most;
    }
    return { logits, maps };
  }

  /** Logits [classes] and an attention map a stage, for RGB bytes [32 * 32 * 3]. */
  function run(network, pixels) {
    const { mean, std } = network.description.normalization;
    const width = SIZE + 2;
    const image = planes("image", 3, SIZE);
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < SIZE * SIZE; i++)
        image[(c * width + (i >> 5) + 1) * width + (i & 31) + 1] = (pixels[3 * i + c] / 255 - mean[c]) / std[c];

    if (network.description.graph.kind === "air.AirNet") return runPooled(network, image);
    let side = SIZE;
    let channels = network.stem.outputs;
    let x = planes("stage", channels, side);
    winograd(network.stem, image, side, x, 0);
    const maps = [];
    for (const blocks of network.stages) {
      for (const [first, second] of blocks) {
        let y = planes("middle", first.outputs, side);
        winograd(first, x, side, y, 0);
        if (first.stride === 2) {
          side >>= 1;
          y = subsample(y, first.outputs, side, planes("middle", first.outputs, side), first.outputs);
          x = subsample(x, channels, side, planes("stage", first.outputs, side), first.outputs);
          channels = first.outputs;
        }
        winograd(second, y, side, x, 1);
      }
      maps.push(attentionMap(x, channels, side));
    }

    const { features, classes, weights } = network.head;
    const width_ = side + 2;
    const logits = new Float64Array(classes);
    for (let k = 0; k < classes; k++) logits[k] = weights[classes * features + k];
    for (let c = 0; c < features; c++) {
      let sum = 0;
      for (let i = c * width_ * width_; i < (c + 1) * width_ * width_; i++) sum += x[i]; // the border adds nothing
      for (let k = 0; k < classes; k++) logits[k] += (weights[k * features + c] * sum) / (side * side);
    }
    return { logits, maps };
  }

  /** The pixels that Pillow's BOX filter averages for each of the 32: [begin, end) in a line of `length` from `offset`. */
  function windows(offset, side, length) {
    const scale = side / SIZE;
    const reach = Math.max(scale, 1) / 2;
    return Array.from({ length: SIZE }, (_, i) => {
      const middle = offset + (i + 0.5) * scale;
      return [Math.max(0, Math.floor(middle - reach + 0.5)), Math.min(length, Math.floor(middle + reach + 0.5))];
    });
  }

  /** The middle square of an image (RGBA bytes) as the networks see it: RGB bytes [32 * 32 * 3].
      As decode_image of images/decode.py: rows first, each step rounded to bytes. */
  function shrink(rgba, width, height) {
    const side = Math.min(width, height);
    const columns = windows((width - side) >> 1, side, width);
    const rows = windows((height - side) >> 1, side, height);
    const top = rows[0][0];
    const narrow = new Uint8Array((rows[SIZE - 1][1] - top) * SIZE * 3);
    for (let y = top, to = 0; y < rows[SIZE - 1][1]; y++)
      for (const [begin, end] of columns) {
        let r = 0, g = 0, b = 0; // prettier-ignore
        for (let at = 4 * (y * width + begin), last = 4 * (y * width + end); at < last; at += 4) {
          r += rgba[at];
          g += rgba[at + 1];
          b += rgba[at + 2];
        }
        narrow[to++] = r / (end - begin) + 0.5;
        narrow[to++] = g / (end - begin) + 0.5;
        narrow[to++] = b / (end - begin) + 0.5;
      }
    const small = new Uint8Array(SIZE * SIZE * 3);
    rows.forEach(([begin, end], row) => {
      for (let i = 0; i < SIZE * 3; i++) {
        let sum = 0;
        for (let y = begin; y < end; y++) sum += narrow[(y - top) * SIZE * 3 + i];
        small[row * SIZE * 3 + i] = sum / (end - begin) + 0.5;
      }
    });
    return small;
  }

  return { load, run, shrink };
})();
