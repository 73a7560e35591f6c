import { MemberProcess } from "./member-process.js";

/** Starts a member whose cache directory is the first argument, says where its HTTP listener listens, and waits for ever. */
const member = await MemberProcess.start({ endpoint: "http://127.0.0.1:1", cacheDirectory: process.argv[2]! });
process.stdout.write(`${member.http}\n`);
