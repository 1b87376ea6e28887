// Decodes away from the page, so that it stays alive. Messages in: {weights} or {file, job}, as bytes; a number names
// the job. Messages out: {model}, the digest of weights that were read; {step, job}, a picture; {error, job}, one
// line.

import { Model, parse, readWeights } from "./rnnc.js";

let model;
let current; // The newest message: it ends the work on an older file.

addEventListener("message", async (message) => {
  current = message;
  const { weights, file, job } = message.data;
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
      postMessage({ step: { iteration, iterations, bytes, width, height, pixels }, job }, [pixels.buffer]);
      await new Promise((resolve) => setTimeout(resolve)); // Let messages in.
      if (current !== message) return;
    }
  } catch (error) {
    postMessage({ error: error.message, job });
  }
});
