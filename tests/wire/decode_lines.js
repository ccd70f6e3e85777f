// Reads one JSON object per line, prints what decode.js makes of it and one line to end it.
//   {"status": {…}}   learns what it announces -> its id
//   {"hex": "02…"}    decodes                  -> its rows, or {"error": …}
"use strict";
const path = require("path");
const readline = require("readline");
const { EdgeDecoder, EdgeFormatError } = require(path.resolve(process.argv[2]));

let decoder = new EdgeDecoder();
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line);
  const answer = [];
  if (asked.forget) decoder = new EdgeDecoder();
  try {
    if (asked.status !== undefined) answer.push(String(decoder.learn(asked.status)));
    if (asked.hex !== undefined) {
      const message = decoder.decode(Buffer.from(asked.hex, "hex"));
      for (const row of EdgeDecoder.rows(message)) answer.push(EdgeDecoder.toJson(row));
    }
  } catch (error) {
    answer.push(JSON.stringify({ error: error.message, ours: error instanceof EdgeFormatError }));
  }
  process.stdout.write(`${answer.join("\n")}\n.\n`);
});
