//! The generated code, in modules that mirror the packages: generated paths are relative to them.

#![expect(clippy::allow_attributes, clippy::too_many_lines, unreachable_pub, reason = "generated")]

pub mod google {
    pub mod rpc {
        include!("gen/google.rpc.rs");
    }
}

pub mod postrider {
    pub mod api {
        pub mod v1 {
            include!("gen/postrider.api.v1.rs");
        }
    }
}
