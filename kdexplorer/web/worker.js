/* What runs beside the page: infer.js, asked by messages. A picture's bytes travel there and back without a copy. */

let networks = [];

onmessage = ({ data }) => {
  if (data.networks) {
    networks = data.networks.map(({ description, weights }) => KDInfer.load(description, weights));
    postMessage({ set: data.set, loaded: true });
    return;
  }
  const begin = performance.now();
  const pixels = KDInfer.shrink(new Uint8ClampedArray(data.rgba), data.side, data.side);
  const answers = networks.map((network, n) => (data.active[n] ? KDInfer.run(network, pixels) : null));
  const milliseconds = performance.now() - begin;
  const { set, again, rgba, side } = data;
  postMessage({ set, again, rgba, side, pixels, answers, milliseconds }, [rgba]);
};
