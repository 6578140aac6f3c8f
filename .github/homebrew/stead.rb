# The formula for the tap. The release workflow adds the url and sha256 of the sources.
class Stead < Formula
  desc "Linux machines, checked in"
  homepage "https://github.com/stead-vm/stead"
  license "Apache-2.0"
  head "https://github.com/stead-vm/stead.git", branch: "main"

  depends_on "go" => :build

  on_macos do
    depends_on macos: :ventura
  end

  on_linux do
    depends_on "qemu"
  end

  def install
    # On macOS this also signs with the entitlement for Virtualization.framework.
    system "make", "install", "PREFIX=#{prefix}", "VERSION=#{version}"
    generate_completions_from_executable(bin/"stead", "completion")
  end

  test do
    (testpath/"machines.hcl").write <<~HCL
      machine "dev" {
        imge = "debian"
      }
    HCL
    ENV["STEAD_HOME"] = testpath/"home"
    assert_match "imge", shell_output("#{bin}/stead plan 2>&1", 1)
    assert_match version.to_s, shell_output("#{bin}/stead version") if build.stable?
  end
end
