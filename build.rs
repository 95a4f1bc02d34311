//! Gives `tracker.exe` and `peer.exe` a manifest: what Windows shall know of them.

use embed_manifest::manifest::{ActiveCodePage, ExecutionLevel, Setting, SupportedOS};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return;
    }
    let manifest = embed_manifest::empty_manifest()
        .name("MiniBitTorrent")
        .supported_os(SupportedOS::Windows10..=SupportedOS::Windows10)
        // Paths of more than 260 characters, where the machine's owner has allowed them.
        .long_path_aware(Setting::Enabled)
        // Narrow texts of the C runtime and of SQLite are UTF-8, as ours are.
        .active_code_page(ActiveCodePage::Utf8)
        // Never asks for an administrator's rights.
        .requested_execution_level(ExecutionLevel::AsInvoker);
    embed_manifest::embed_manifest(manifest).expect("OUT_DIR can be written");
}
