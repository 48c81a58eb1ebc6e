"""Networks that run in a browser: exported by `export`, run by `infer.js`, displayed by `live.js`."""
