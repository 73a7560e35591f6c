import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { noLimits } from "../../testing/no-limits.js";
import { noSecurity, testPeer } from "../../testing/no-security.js";
import { Clients } from "../limits/clients.js";
import { Connection } from "./connection.js";

/** What a connection knows of its socket. */
class FakeSocket extends EventEmitter {
  destroyed = false;
  destroySoon = this.destroy;

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit("close");
  }
}

/** What a connection knows of a response. */
class FakeResponse extends EventEmitter {
  readonly headers: string[] = [];

  setHeader(name: string, value: string): void {
    this.headers.push(`${name}: ${value}`);
  }
}

function open() {
  const socket = new FakeSocket();
  const connection = new Connection(
    socket as unknown as Socket,
    new ConnectionAuthentication(noSecurity, testPeer(), systemClock),
    new Clients(noLimits, systemClock).of(),
  );
  const events: string[] = [];
  const request = (name: string): FakeResponse => {
    const response = new FakeResponse();
    connection.answer(response as unknown as ServerResponse, () => {
      events.push(`${name} begins`);
      connection.whenClosed(() => events.push(`${name} ends`));
    });
    return response;
  };
  return { socket, connection, events, request };
}

describe("a connection", () => {
  it("starts a response when the previous one was sent", () => {
    const { connection, events, request } = open();
    const [first, second] = [request("a"), request("b")];
    expect(events).toEqual(["a begins"]);
    first.emit("close");
    expect([events, connection.running]).toEqual([["a begins", "a ends", "b begins"], true]);
    second.emit("close");
    expect([events.at(-1), connection.running]).toEqual(["b ends", false]);
  });

  it("notifies a waiting response of its end, even if the response never got the socket", () => {
    const { socket, connection, events, request } = open();
    const response = request("a");
    request("b");
    socket.destroy();
    expect([events, connection.signal.aborted, connection.running]).toEqual([["a begins", "a ends"], true, false]);
    response.emit("close");
    expect(events).toEqual(["a begins", "a ends"]);
  });

  it("that is asked to end does so after the running and queued responses, with Connection: close", () => {
    const { socket, connection, events, request } = open();
    const [first, second] = [request("a"), request("b")];
    connection.endWhenIdle();
    expect(socket.destroyed).toBe(false);
    first.emit("close");
    expect([first.headers, second.headers, socket.destroyed]).toEqual([[], ["Connection: close"], false]);
    second.emit("close");
    expect([events.at(-1), socket.destroyed]).toEqual(["b ends", true]);
  });

  it("that is idle ends immediately when asked to end", () => {
    const { socket, connection } = open();
    connection.endWhenIdle();
    expect(socket.destroyed).toBe(true);
  });

  it("is closed by a request over the limit of queued requests", () => {
    const { socket, events, request } = open();
    for (let count = 0; count <= 100; count++) request(`${count}`);
    expect(socket.destroyed).toBe(false);
    request("one too many");
    expect([socket.destroyed, events]).toEqual([true, ["0 begins", "0 ends"]]);
  });
});
