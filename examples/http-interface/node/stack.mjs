// Vitest calls `setup` and `teardown` of a globalSetup file; node's own runner takes them by hooks, as example.test.mjs does.
import { readFileSync } from "node:fs";

const { url, token } = JSON.parse(readFileSync(process.env.KESTACK_INTERFACE, "utf8"));

export async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${said.detail}: ${said.hint}`);
  return said;
}

export const sandbox = () => ask("POST", "/v1/sandboxes", { lease_seconds: 600 });
export const drop = ({ name }) => ask("DELETE", `/v1/sandboxes/${name}`);
export const setup = () => ask("GET", "/v1/status");
export async function teardown() {
  if (!(await ask("POST", "/v1/verify")).proven) throw new Error("the stack does not encrypt");
}
