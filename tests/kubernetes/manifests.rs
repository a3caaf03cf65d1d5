//! A real API server takes the manifests.

use anyhow::Result;
use chaos_tests::control_plane::ControlPlane;

#[test]
fn the_api_server_accepts_every_manifest() -> Result<()> {
    let plane = ControlPlane::start()?;
    let manifests = xtask::paths::workspace().join("manifests");
    let (base, samples) = (manifests.join("base"), manifests.join("samples"));
    // A dry run makes no namespace, so what lies in one would be refused.
    for namespace in ["chaos-agent", "shop"] {
        plane.kubectl(&["create", "namespace", namespace])?;
    }
    let base = base.display().to_string();
    let strict =
        ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts"];
    let applied = plane.kubectl(&[&strict[..], &["--kustomize", &base]].concat())?;
    for kind in
        ["namespace", "serviceaccount", "clusterrole", "clusterrolebinding", "daemonset.apps"]
    {
        assert!(
            applied.contains(&format!("{kind}/chaos-agent "))
                || applied.contains(&format!("{kind}.rbac.authorization.k8s.io/chaos-agent ")),
            "{applied}"
        );
    }
    let samples = samples.display().to_string();
    let applied = plane.kubectl(&[&strict[..], &["--filename", &samples]].concat())?;
    assert!(applied.contains("pod/web-0"), "{applied}");
    Ok(())
}
