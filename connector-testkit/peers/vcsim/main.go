// A vCenter for tests: the simulator of govmomi behind a line protocol.
//
// Each line of standard input is a request as JSON, each line of standard output its answer. The
// process ends with its input. The first request is "start"; the others do what administrators do.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type request struct {
	Op       string
	User     string
	Password string
	// Virtual machines in each resource pool.
	Machines int
	Path     string
	Value    string
	Memory   int64
}

type peer struct {
	model  *simulator.Model
	server *simulator.Server
	client *govmomi.Client
	finder *find.Finder
}

func (p *peer) start(r request) (interface{}, error) {
	p.model = simulator.VPX()
	p.model.Machine = r.Machines
	if err := p.model.Create(); err != nil {
		return nil, err
	}
	// Not one number for everything: which is which would not show.
	for _, host := range simulator.Map.All("HostSystem") {
		cpu := &host.(*simulator.HostSystem).Hardware.CpuInfo
		cpu.NumCpuCores, cpu.NumCpuThreads = 8, 16
	}
	user := url.UserPassword(r.User, r.Password)
	p.model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: user}
	p.server = p.model.Service.NewServer()
	ctx := context.Background()
	client, err := govmomi.NewClient(ctx, p.server.URL, true)
	if err != nil {
		return nil, err
	}
	p.client = client
	p.finder = find.NewFinder(client.Client, false)
	return map[string]string{
		"port":     p.server.URL.Port(),
		"instance": client.ServiceContent.About.InstanceUuid,
	}, nil
}

func (p *peer) change(ctx context.Context, r request) error {
	vm, err := p.finder.VirtualMachine(ctx, r.Path)
	if err != nil {
		return err
	}
	var task *object.Task
	switch r.Op {
	case "power_off":
		task, err = vm.PowerOff(ctx)
	case "power_on":
		task, err = vm.PowerOn(ctx)
	case "destroy":
		task, err = vm.Destroy(ctx)
	case "rename":
		task, err = vm.Rename(ctx, r.Value)
	case "annotate":
		task, err = vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: r.Value})
	case "memory":
		task, err = vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{MemoryMB: r.Memory})
	case "guest":
		task, err = vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{
				&types.OptionValue{Key: "SET.guest.hostName", Value: r.Value},
			},
		})
	case "custom":
		fields, err := object.GetCustomFieldsManager(p.client.Client)
		if err != nil {
			return err
		}
		field, err := fields.Add(ctx, "owner", "VirtualMachine", nil, nil)
		if err != nil {
			return err
		}
		return fields.Set(ctx, vm.Reference(), field.Key, r.Value)
	default:
		return fmt.Errorf("no such request: %s", r.Op)
	}
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

func (p *peer) answer(r request) (interface{}, error) {
	ctx := context.Background()
	switch r.Op {
	case "start":
		return p.start(r)
	case "sessions":
		var sessions mo.SessionManager
		manager := *p.client.ServiceContent.SessionManager
		err := p.client.RetrieveOne(ctx, manager, []string{"sessionList"}, &sessions)
		// Its own is one of them.
		return len(sessions.SessionList) - 1, err
	default:
		// The paths of machines begin with their datacenter.
		return nil, p.change(ctx, r)
	}
}

func main() {
	log.SetOutput(os.Stderr)
	var p peer
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var r request
		err := json.Unmarshal(lines.Bytes(), &r)
		var answer interface{}
		if err == nil {
			answer, err = p.answer(r)
		}
		if err != nil {
			_ = out.Encode(map[string]string{"error": err.Error()})
			continue
		}
		_ = out.Encode(map[string]interface{}{"ok": answer})
	}
	if p.model != nil {
		p.model.Remove()
	}
}
