import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { expect, it } from "vitest";

it("a listeners test may listen, and fails if it starts a process", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  server.close();
  expect(() => spawn(process.execPath, ["--version"])).toThrow("must end with .processes.test.ts");
});
