"""Networks that run in a browser: exported by `export`, run by `infer.js`, shown by `live.js`."""
