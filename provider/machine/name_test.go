package machine

import "testing"

func TestNameForAnImage(t *testing.T) {
	for reference, want := range map[string]string{
		"alpine:3.22":                       "alpine-3-22",
		"docker.io/library/debian:bookworm": "debian-bookworm",
		"local/Dev_Box":                     "dev-box",
		"debian@sha256:0123":                "debian",
		"host:5000/team/tools:1":            "tools-1",
	} {
		got, err := NameFor(reference)
		if err != nil || got != want {
			t.Errorf("NameFor(%q) = %q, %v; want %q", reference, got, err, want)
		}
	}
	if got, err := NameFor("…"); err == nil {
		t.Errorf("NameFor(…) = %q, want an error", got)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"dev": true, "a": true, "test-alpine": true, "9": true,
		"": false, "-a": false, "a-": false, "Dev": false, "a.b": false, "../x": false, ".hid": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v", id, got)
		}
	}
}
