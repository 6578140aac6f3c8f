package reconcile

import (
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
)

func TestPlansNameSourcesOutsideOfTheProject(t *testing.T) {
	built := func(b machine.Build) machine.Spec {
		return spec("box", func(s *machine.Spec) { s.Image, s.Digest, s.Build = "local/build:1", "", &b })
	}
	old := stopped(spec("box"))
	broken := machine.Machine{Spec: spec("box"), State: machine.Broken}
	const (
		context = "build context /home/ada/.ssh (outside of the project's directory)"
		file    = "dockerfile /srv/Dockerfile (outside of the project's directory)"
	)
	tests := map[string]struct {
		build machine.Build
		have  []machine.Machine
		want  []string
	}{
		"a context in the project is not named":     {build: machine.Build{Context: "/acme/image"}},
		"a new machine's context is named":          {build: machine.Build{OutsideContext: "/home/ada/.ssh"}, want: []string{context}},
		"a new machine's Dockerfile is named":       {build: machine.Build{OutsideDockerfile: "/srv/Dockerfile"}, want: []string{file}},
		"a replaced machine's sources are named":    {machine.Build{OutsideContext: "/home/ada/.ssh", OutsideDockerfile: "/srv/Dockerfile"}, []machine.Machine{old}, []string{context, file}},
		"a repaired machine's context is named too": {machine.Build{OutsideContext: "/home/ada/.ssh"}, []machine.Machine{broken}, []string{context}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(situation([]machine.Spec{built(tt.build)}, tt.have))
			if err != nil {
				t.Fatal(err)
			}
			text := Text(plan)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the plan lacks %q:\n%s", want, text)
				}
			}
			if got := strings.Count(text, "outside of the project"); got != len(tt.want) {
				t.Errorf("the plan names %d sources, want %d:\n%s", got, len(tt.want), text)
			}
		})
	}
}
