import { MemberProcess } from "./member-process.js";

/** Starts a member whose cache directory is the first argument, prints the address of its HTTP listener, and never ends. */
const member = await MemberProcess.start({ endpoint: "http://127.0.0.1:1", cacheDirectory: process.argv[2]! });
process.stdout.write(`${member.http}\n`);
