// Calls the npm client as it is told to, a line of JSON for each call, and answers with a line of JSON what came back.
"use strict";

const fs = require("fs");
const readline = require("readline");
const Freshdesk = require("freshdesk-api");

const client = new Freshdesk(process.argv[2], process.argv[3]);

// A file is named as {"file": path} among the attachments.
function opened(value) {
  if (Array.isArray(value)) return value.map(opened);
  if (value && typeof value === "object") {
    if (typeof value.file === "string") return fs.createReadStream(value.file);
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, opened(inner)]));
  }
  return value;
}

function answer(number, error, data, extra) {
  const failed = error && { name: error.name, message: error.message, status: error.status, data: error.data };
  process.stdout.write(`${JSON.stringify({ number, error: failed || null, data, extra })}\n`);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { number, call, args } = JSON.parse(line);
  let answered = false;
  // With attachments the client sends the request, and then once more without a body: the first answer counts.
  client[call](...opened(args), (error, data, extra) => {
    if (!answered) answer(number, error, data, extra);
    answered = true;
  });
});
