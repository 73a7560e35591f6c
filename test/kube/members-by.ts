import {
  type KubernetesMembersOptions,
  kubernetesMembers,
  kubernetesTimes,
  type MemberSource,
  openKubeAccess,
  silentLog,
} from "@frontcache/server/testing";

/**
 * Opens members from the pods with `app=frontcache` in the kubeconfig's namespace, with the default settings and some options.
 */
export function membersBy(
  kubeconfig: string,
  options: Partial<KubernetesMembersOptions> & Pick<KubernetesMembersOptions, "clock" | "random">,
): MemberSource {
  return kubernetesMembers({
    openAccess: () => openKubeAccess(kubeconfig),
    namespace: undefined,
    labelSelector: "app=frontcache",
    identity: "pod",
    grpcPort: 8080,
    httpPort: 8081,
    unreadyGraceMs: 10_000,
    blockBytes: 1 << 24,
    times: kubernetesTimes,
    log: silentLog,
    ...options,
  });
}
