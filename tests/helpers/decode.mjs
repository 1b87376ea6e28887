// node decode.mjs WEIGHTS FOLDER [plain]: decode every .rnnc file of a folder, and write beside it what came out,
// iteration by iteration: NAME.levels (16-bit integers) and NAME.rgba; or NAME.error, the message, where it is
// refused. `plain`: without SIMD.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { usePlain } from "../../docs/decoder/matrix.js";
import { BitstreamError, Model, readWeights } from "../../docs/decoder/rnnc.js";

const [weights, folder, arithmetic] = process.argv.slice(2);
if (arithmetic === "plain") usePlain();
const model = new Model(await readWeights(readFileSync(weights)));
for (const name of readdirSync(folder).filter((name) => name.endsWith(".rnnc"))) {
  const path = `${folder}/${name.slice(0, -5)}`;
  try {
    const levels = [], pictures = [];
    for await (const step of model.decode(readFileSync(`${path}.rnnc`))) {
      levels.push(Buffer.from(step.levels.slice().buffer));
      pictures.push(Buffer.from(step.draw().buffer));
    }
    writeFileSync(`${path}.levels`, Buffer.concat(levels));
    writeFileSync(`${path}.rgba`, Buffer.concat(pictures));
  } catch (error) {
    if (!(error instanceof BitstreamError)) throw error;
    writeFileSync(`${path}.error`, error.message);
  }
}
