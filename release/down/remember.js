// Notes which stack is meant. The work is done at the end of the job, by down.js; another call may mean another stack until then.
const { appendFileSync } = require("node:fs");

for (const name of ["NAME", "DIR", "ENGINE", "HOST"]) {
  appendFileSync(process.env.GITHUB_STATE, `${name}=${process.env[`INPUT_${name}`] ?? ""}\n`);
}
