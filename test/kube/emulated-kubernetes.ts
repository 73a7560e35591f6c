import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubernetesMembersOptions, MemberSource } from "@frontcache/server/testing";
import { KubeEmulator } from "../emulators/kube.js";
import { FlowingTime } from "./flowing-time.js";
import { membersBy } from "./members-by.js";

/** The Kubernetes emulator by flowing time, and a directory for its kubeconfig. */
export class EmulatedKubernetes {
  private constructor(
    readonly time: FlowingTime,
    readonly api: KubeEmulator,
    /** Removed at the end. */
    readonly directory: string,
  ) {}

  static async open(): Promise<EmulatedKubernetes> {
    // Loading the package takes real time, in which no time of the tests should pass.
    await import("@kubernetes/client-node");
    const time = new FlowingTime();
    const directory = await mkdtemp(join(tmpdir(), "frontcache-kube-"));
    return new EmulatedKubernetes(time, await KubeEmulator.start("cache", time.clock), directory);
  }

  /** Members by the emulator; `user` is the kubeconfig's, where it is to be another one. */
  async members({
    user,
    ...wanted
  }: Partial<KubernetesMembersOptions> & { readonly user?: Record<string, unknown> } = {}): Promise<MemberSource> {
    const kubeconfig = join(this.directory, "kubeconfig");
    await writeFile(kubeconfig, this.api.kubeconfig(user));
    return membersBy(kubeconfig, { clock: this.time.clock, random: () => 0.5, ...wanted });
  }

  /** Closes the source, and sees that nothing of it is left. */
  async leave(source: MemberSource): Promise<void> {
    await source.close();
    await this.time.until("the source has left its connections", () => this.api.openSockets === 0);
    if (this.time.clock.waits > 0) throw new Error(`the source has left ${this.time.clock.waits} timers`);
  }

  async close(): Promise<void> {
    await this.api.close();
    await rm(this.directory, { recursive: true });
  }
}
