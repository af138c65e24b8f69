// Runs at the end of the job, whatever happened: the end of the logs, then everything of the stack is removed.
const { spawnSync } = require("node:child_process");

const run = (...words) => spawnSync("kestack", words, { stdio: "inherit" });

run("logs", "--tail", "100");
const { status, error } = run("down", "--data");
if (error) console.log(`::error::kestack down: ${error.message}`);
process.exit(status ?? 1);
