/* The worker: infer.js, driven by messages. An image's bytes travel there and back without a copy. */

let networks = [];

onmessage = ({ data }) => {
  if (data.networks) {
    networks = data.networks.map(({ description, weights }) => KDInfer.load(description, weights));
    postMessage({ set: data.set, loaded: true });
    return;
  }
  const begin = performance.now();
  const pixels = KDInfer.shrink(new Uint8ClampedArray(data.rgba), data.side, data.side);
  const predictions = networks.map((network, n) => (data.active[n] ? KDInfer.run(network, pixels) : null));
  const milliseconds = performance.now() - begin;
  const { set, repeated, rgba, side } = data;
  postMessage({ set, repeated, rgba, side, pixels, predictions, milliseconds }, [rgba]);
};
