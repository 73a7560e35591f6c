import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { eventually } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { temporaryDirectory } from "./member-process.js";

/** Connects; resolves with the outcome, and with `over`, which resolves when the connection has ended. */
async function knock(address: string): Promise<{ readonly answer: string; readonly over: Promise<void> }> {
  const [host, port] = address.split(":");
  const socket = connect(Number(port), host!);
  const over = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const answer = new Promise<string>((resolve) => {
    socket.once("connect", () => resolve("open")).on("error", (error: NodeJS.ErrnoException) => resolve(String(error.code)));
  });
  socket.resume();
  return { answer: await answer, over };
}

it("members end when the process that started them ends or is killed", async () => {
  await using directory = await temporaryDirectory();
  const args = ["--import", "tsx", join(import.meta.dirname, "member-starter.ts"), directory.path];
  const starter = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const address = String((await once(starter.stdout, "data"))[0]).trim();
  const { answer, over } = await knock(address);
  expect(answer).toBe("open");
  starter.kill("SIGKILL");
  await over;
  // The kernel may accept a few more connections while a process ends.
  await eventually(async () => {
    const last = await knock(address);
    if (last.answer === "open") await last.over;
    expect(last.answer).toBe("ECONNREFUSED");
  });
});
