import { Server } from "node:net";
import { tiers } from "./tiers.js";

// Setup of the unit tier: listening fails. HTTP, HTTP/2, TLS and gRPC servers are all servers of `node:net`.

Server.prototype.listen = () => {
  throw new Error(`this test listens; the name of its file must end with ${tiers.listeners.ending} or ${tiers.processes.ending}`);
};
