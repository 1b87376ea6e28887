// Decodes away from the page, so that it stays alive. Messages in: {weights} or {file}, as bytes. Messages out:
// {model}, the digest of weights that were read; {step}, a picture; {error}, one line.

import { Model, parse, readWeights } from "./rnnc.js";

let model;
let job = 0;

addEventListener("message", async ({ data: { weights, file } }) => {
  const own = ++job; // A newer file ends the work on an older one.
  try {
    if (weights) {
      const read = await readWeights(weights);
      model = new Model(read);
      postMessage({ model: read.digest });
      return;
    }
    const { width, height } = parse(file).header;
    for await (const { iteration, iterations, bytes, draw } of model.decode(file)) {
      const pixels = draw();
      postMessage({ step: { iteration, iterations, bytes, width, height, pixels } }, [pixels.buffer]);
      await new Promise((resolve) => setTimeout(resolve)); // Let messages in.
      if (own !== job) return;
    }
  } catch (error) {
    postMessage({ error: error.message });
  }
});
