package image

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-vm/stead/provider/platform"
)

// artifactOf returns what a tool stores with a config and content of these types.
func artifactOf(t *testing.T, config, layer types.MediaType) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
	img, err := mutate.AppendLayers(img, static.NewLayer([]byte("content"), layer))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestWhatIsNoImageIsNamed(t *testing.T) {
	statement := imageOf(t, platform.Platform{OS: "unknown", Architecture: "unknown"},
		static.NewLayer([]byte("{}"), "application/vnd.in-toto+json"))
	tests := map[string]struct {
		img  v1.Image
		what string
	}{
		"a Helm chart":              {artifactOf(t, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "a Helm chart"},
		"an attestation":            {statement, "an attestation"},
		"a signature of cosign":     {artifactOf(t, types.OCIConfigJSON, "application/vnd.dev.cosign.simplesigning.v1+json"), "a signature"},
		"a Docker plugin":           {artifactOf(t, types.DockerPluginConfig, types.DockerLayer), "a Docker plugin"},
		"an encrypted image":        {artifactOf(t, types.OCIConfigJSON, types.OCILayer+"+encrypted"), "an artifact with content of the type " + string(types.OCILayer) + "+encrypted"},
		"an unknown artifact":       {artifactOf(t, "application/vnd.example.thing", "text/plain"), "an artifact of the type application/vnd.example.thing"},
		"a manifest without layers": {imageOf(t, amd64), "an image without layers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			dir := layoutOf(t, map[string]v1.Image{"": tt.img})
			for _, ref := range []string{r.push(t, "thing:1", tt.img), "oci:" + dir} {
				_, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, amd64, nil)
				wantError(t, err, "name a container image", ref+" is "+tt.what, "no machine can be made of it")
				if text := err.Error() + remedy(err); strings.Contains(text, "sha256:") || strings.Contains(text, "retry") {
					t.Errorf("%s blames a blob: %s", ref, text)
				}
			}
			_, err := newStore(t, t.TempDir()).Import(t.Context(), "local/thing:1", dir, nil)
			wantError(t, err, "name a container image", tt.what)
		})
	}
}

func TestAnImageBesideArtifactsIsFound(t *testing.T) {
	want := sample(t, "x")
	dir := layoutOf(t, map[string]v1.Image{"": want})
	chart := layoutOf(t, map[string]v1.Image{"": artifactOf(t, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")})
	var both, other v1.IndexManifest
	for path, index := range map[string]*v1.IndexManifest{dir: &both, chart: &other} {
		raw, err := os.ReadFile(path + "/index.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, index); err != nil {
			t.Fatal(err)
		}
	}
	both.Manifests = append(other.Manifests, both.Manifests...)
	raw, err := json.Marshal(both)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/index.json", raw)
	if err := os.CopyFS(dir+"/blobs", os.DirFS(chart+"/blobs")); err != nil {
		t.Fatal(err)
	}
	img, err := newStore(t, t.TempDir()).Pull(t.Context(), "oci:"+dir, amd64, nil)
	if err != nil || img.Digest != digestOf(t, want).String() {
		t.Errorf("pulled %s, %v", img.Digest, err)
	}
}

// TestAMissingBlobIsNotTheReferencesFault covers layers that registries are not expected to have.
func TestAMissingBlobIsNotTheReferencesFault(t *testing.T) {
	foreign, err := mutate.Append(sample(t, "x"), mutate.Addendum{
		Layer: static.NewLayer([]byte("elsewhere"), types.DockerForeignLayer), MediaType: types.DockerForeignLayer,
		URLs: []string{"https://example.com/layer"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		img  v1.Image
		hint string
		says string
	}{
		"a layer":         {sample(t, "x"), "build the image again", "is incomplete: its blob"},
		"a foreign layer": {foreign, "has all of its layers", "has a foreign layer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			layers := layersOf(t, tt.img)
			gone := digestOf(t, layers[len(layers)-1])
			r := newRegistry(t)
			dir := layoutOf(t, map[string]v1.Image{"": tt.img})
			if err := os.Remove(blobFile(dir, gone)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			ref := r.push(t, "part:1", tt.img)
			r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
				if strings.HasSuffix(q.URL.Path, "/blobs/"+gone.String()) {
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				return false
			})
			for _, ref := range []string{ref, "oci:" + dir} {
				_, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, amd64, nil)
				wantError(t, err, tt.hint, ref+" "+tt.says, gone.String())
				if strings.Contains(remedy(err), "retry") || strings.Contains(remedy(err), "check the name") {
					t.Errorf("hint: %s", remedy(err))
				}
			}
		})
	}
}
