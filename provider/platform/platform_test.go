package platform

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "linux", "linux/", "/amd64", "linux//v7", "a/b/c/d"} {
		if p, err := Parse(bad); err == nil {
			t.Errorf("%q reads as %s", bad, p)
		}
	}
	for s, want := range map[string]string{
		"linux/x86_64": "linux/amd64", "Linux/AMD64": "linux/amd64", "linux/x86-64": "linux/amd64",
		"linux/aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/armhf": "linux/arm/v7",
		"x86_64": "linux/amd64", "AArch64": "linux/arm64", "arm64": "linux/arm64",
	} {
		if p, err := Parse(s); err != nil || p.String() != want {
			t.Errorf("%q reads as %s, %v; want %s", s, p, err, want)
		}
	}
	p, err := Parse("linux/arm/v7")
	if err != nil || p != (Platform{OS: "linux", Architecture: "arm", Variant: "v7"}) || p.String() != "linux/arm/v7" {
		t.Errorf("got %s, %v", p, err)
	}
	if h := Host(); h.OS != "linux" || h.Architecture == "" {
		t.Errorf("the host is %s", h)
	}
}

func TestTextFormSurvivesARoundTrip(t *testing.T) {
	for _, want := range []Platform{{}, {OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}} {
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Platform
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%q reads as %s, %v", text, got, err)
		}
	}
}

func TestSatisfies(t *testing.T) {
	p := func(s string) Platform { // as an image may spell it
		parts := append(strings.Split(s, "/"), "")
		return Platform{parts[0], parts[1], parts[2]}
	}
	tests := map[string]struct {
		image, want string
		ok          bool
	}{
		"the same":                              {"linux/amd64", "linux/amd64", true},
		"another processor":                     {"linux/arm64", "linux/amd64", false},
		"another system":                        {"windows/amd64", "linux/amd64", false},
		"any variant if no variant is wanted":   {"linux/arm/v7", "linux/arm", true},
		"another variant":                       {"linux/arm/v6", "linux/arm/v7", false},
		"64-bit ARM is v8, written down or not": {"linux/arm64", "linux/arm64/v8", true},
		"uname's name of the processor":         {"linux/x86_64", "linux/amd64", true},
		"capitals":                              {"Linux/AMD64", "linux/amd64", true},
		"64-bit ARM without a variant is v8":    {"linux/arm64/v8", "linux/arm64", true},
	}
	for name, tt := range tests {
		if got := p(tt.image).Satisfies(p(tt.want)); got != tt.ok {
			t.Errorf("%s: %s for %s: %v", name, tt.image, tt.want, got)
		}
	}
}

func TestWhatIsMissingIsTakenFromAnother(t *testing.T) {
	other := Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	for want, p := range map[string]Platform{
		"linux/arm/v7":   {},
		"linux/amd64":    {Architecture: "amd64"},
		"windows/arm/v7": {OS: "windows"},
	} {
		if got := p.Or(other).String(); got != want || p.Complete() {
			t.Errorf("%+v becomes %s, want %s", p, got, want)
		}
	}
}

func TestEvery64BitARMProcessorIsOfOnePlatform(t *testing.T) {
	for want, p := range map[string]Platform{
		"linux/arm64":    {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/arm64/v9": {OS: "linux", Architecture: "arm64", Variant: "v9"},
		"linux/arm/v8":   {OS: "linux", Architecture: "arm", Variant: "v8"},
		"linux/amd64":    {OS: "linux", Architecture: "amd64"},
	} {
		if got := p.Normal().String(); got != want {
			t.Errorf("%+v is %s, want %s", p, got, want)
		}
	}
}
