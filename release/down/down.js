// Runs at the end of the job, whatever happened: the end of the logs, then everything of the stack is removed.
const { spawnSync } = require("node:child_process");

const env = { ...process.env };
for (const name of ["NAME", "DIR", "ENGINE", "HOST"]) env[`KESTACK_${name}`] = process.env[`STATE_${name}`] ?? "";
// a manifest in this folder need not be the stack's
const run = (...words) => spawnSync("kestack", ["--adopt", ...words], { stdio: "inherit", env });

run("logs", "--tail", "100");
const { status, error } = run("down", "--data");
if (error) console.log(`::error::kestack down: ${error.message}`);
process.exit(status ?? 1);
