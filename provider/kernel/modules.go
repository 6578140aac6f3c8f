package kernel

// Needs are the features of its kernel that a machine uses in addition to disk, console and
// agent.
type Needs struct {
	Shares  bool // virtiofs
	Network bool
	Nested  bool // /dev/kvm inside
	Vsock   bool // the host connects to the agent over vsock
	Rosetta bool // binfmt_misc runs programs of another architecture with Rosetta
}

// Modules returns the names of the modules that a machine with these needs loads before it
// mounts its root, or a [MissingModuleError] if k lacks one. Optional modules (balloon,
// entropy) are included only if k has them. For a kernel without a module tree Modules
// assumes that all modules are built in and returns none.
func (k Kernel) Modules(n Needs) ([]string, error) {
	if k.ModuleTree == "" {
		return nil, nil
	}
	t, err := k.tree()
	if err != nil {
		return nil, err
	}
	names := []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4"}
	if n.Network {
		names = append(names, "virtio_net")
	}
	if n.Shares {
		names = append(names, "virtiofs")
	}
	if n.Nested {
		names = append(names, "kvm")
	}
	if n.Vsock {
		names = append(names, "vmw_vsock_virtio_transport")
	}
	if n.Rosetta {
		names = append(names, "binfmt_misc")
	}
	for _, name := range names {
		if !t.has(name) {
			return nil, k.missing(name)
		}
	}
	optional := []string{"virtio_balloon", "virtio_rng"}
	if n.Nested {
		optional = append(optional, "kvm_intel", "kvm_amd") // the guest loads the one for its processor
	}
	for _, name := range optional {
		if t.has(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (k Kernel) missing(module string) error {
	return &MissingModuleError{Module: module, Release: k.Release, Tree: k.ModuleTree}
}

// resolve returns the files of the named modules and their dependencies in loading order,
// as paths relative to the module tree. Built-in modules have no file.
func (k Kernel) resolve(names []string) ([]string, error) {
	if k.ModuleTree == "" || len(names) == 0 {
		return nil, nil
	}
	t, err := k.tree()
	if err != nil {
		return nil, err
	}
	var files []string
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if seen[name] || t.builtin[name] {
			return nil
		}
		seen[name] = true
		m, ok := t.modules[name]
		if !ok {
			return k.missing(name)
		}
		for _, soft := range t.before[name] {
			if real := t.find(soft); real != "" {
				if err := visit(real); err != nil {
					return err
				}
			}
		}
		for _, dep := range m.deps {
			if err := visit(dep); err != nil {
				return err
			}
		}
		files = append(files, m.file)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}
