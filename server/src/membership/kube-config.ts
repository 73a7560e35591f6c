import { existsSync } from "node:fs";
import { CacheError } from "@frontcache/proto";
import type { KubeConfig } from "@kubernetes/client-node";

/** Where Kubernetes puts a pod's credentials. */
const TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** Whether this process runs in a pod that may talk to its cluster's API. */
export function inKubernetes(environment: Readonly<Record<string, string | undefined>>): boolean {
  return Boolean(environment.KUBERNETES_SERVICE_HOST) && existsSync(TOKEN_FILE);
}

/**
 * How to reach the API: by a kubeconfig file, else by what Kubernetes gives every pod. The client's package is loaded only
 * now, because it costs half a second and 50 MB that a member outside Kubernetes need not pay. Throws INVALID_ARGUMENT.
 */
export async function loadKubeConfig(kubeconfig: string | undefined): Promise<KubeConfig> {
  const client = await import("@kubernetes/client-node");
  const config = new client.KubeConfig();
  if (kubeconfig === undefined) {
    if (!inKubernetes(process.env)) {
      throw new CacheError(
        "INVALID_ARGUMENT",
        "no pod credentials here: run in a pod with a service account, or set --kubeconfig",
      );
    }
    config.loadFromCluster();
    return config;
  }
  try {
    config.loadFromFile(kubeconfig);
  } catch (cause) {
    throw new CacheError("INVALID_ARGUMENT", `--kubeconfig ${kubeconfig} can't be read as a kubeconfig file`, { cause });
  }
  if (config.getCurrentCluster() === null) {
    throw new CacheError("INVALID_ARGUMENT", `--kubeconfig ${kubeconfig} names no current context with a cluster: set one`);
  }
  return config;
}

/** The namespace of the configuration's current context. */
export function namespaceOf(config: KubeConfig): string {
  return config.getContextObject(config.getCurrentContext())?.namespace?.trim() || "default";
}
