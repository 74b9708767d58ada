// Calls the plugins of one network as container runtimes do: by libcni, with its cache of attachments.
// One request on standard input, as JSON; the result on standard output. An error is one line, and exit status 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type request struct {
	Verb         string               `json:"verb"`
	Network      string               `json:"network"`
	Plugins      []string             `json:"plugins"`
	Cache        string               `json:"cache"`
	Container    string               `json:"container"`
	Netns        string               `json:"netns"`
	Ifname       string               `json:"ifname"`
	Args         [][2]string          `json:"args"`
	Capabilities map[string]any       `json:"capabilities"`
	Valid        []types.GCAttachment `json:"valid"`
}

func done(asked request) (any, error) {
	network, err := libcni.ConfListFromFile(asked.Network)
	if err != nil {
		return nil, err
	}
	cni := libcni.NewCNIConfigWithCacheDir(asked.Plugins, asked.Cache, nil)
	attachment := &libcni.RuntimeConf{
		ContainerID: asked.Container, NetNS: asked.Netns, IfName: asked.Ifname, Args: asked.Args,
		CapabilityArgs: asked.Capabilities,
	}
	ctx := context.Background()
	switch asked.Verb {
	case "add":
		return cni.AddNetworkList(ctx, network, attachment)
	case "check":
		return nil, cni.CheckNetworkList(ctx, network, attachment)
	case "del":
		return nil, cni.DelNetworkList(ctx, network, attachment)
	case "gc":
		return nil, cni.GCNetworkList(ctx, network, &libcni.GCArgs{ValidAttachments: asked.Valid})
	case "gc without a list":
		return nil, cni.GCNetworkList(ctx, network, nil)
	case "status":
		return nil, cni.GetStatusNetworkList(ctx, network)
	case "cached":
		return cni.GetCachedAttachments("")
	}
	return nil, errors.New("no such verb")
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	said, err := done(asked)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
