//! The descriptors of the API.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// An encoded `google.protobuf.FileDescriptorSet`: every file of the API with all that it imports, comments and options
/// (`google.api.http`, `field_behavior`) included.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// Returns [`DESCRIPTORS`] decoded, with the options' extensions resolved. Decoded once, at the first call.
pub fn descriptor_pool() -> &'static DescriptorPool {
    // Constant data, decoded once: no state.
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(DESCRIPTORS)
            .expect("generated descriptors decode: a test loads them")
    });
    &POOL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_but_streams_has_an_http_binding() {
        let http = descriptor_pool()
            .get_extension_by_name("google.api.http")
            .expect("annotations are included");
        for service in
            descriptor_pool().services().filter(|s| s.package_name() == "postrider.api.v1")
        {
            for method in service.methods() {
                assert_ne!(
                    method.options().has_extension(&http),
                    method.is_server_streaming(),
                    "{}: google.api.http is for what is no stream",
                    method.full_name()
                );
            }
        }
    }
}
