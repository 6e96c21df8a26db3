package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/argoproj/gitops-engine/pkg/diff"
	jsonpatch "github.com/evanphx/json-patch/v5"
	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/util/proto"
)

const manager = "argocd-controller"

type comparison struct {
	Modified bool            `json:"modified"`
	Diff     json.RawMessage `json:"diff"`
}

// predicted answers a dry run with what the API server has said already.
type predicted string

func (answer predicted) Run(context.Context, *unstructured.Unstructured, string) (string, error) {
	return string(answer), nil
}

func argodiff(question []byte) (*comparison, error) {
	var asked struct {
		Git, Live unstructured.Unstructured
		Mode      string
		Openapi   json.RawMessage
		Predicted json.RawMessage
	}
	if err := json.Unmarshal(question, &asked); err != nil {
		return nil, err
	}
	options := []diff.Option{diff.WithManager(manager)}
	if asked.Mode != "" {
		parser, err := parserOf(asked.Openapi)
		if err != nil {
			return nil, err
		}
		options = append(options, diff.WithGVKParser(parser))
	}
	switch asked.Mode {
	case "":
	case "StructuredMerge":
		options = append(options, diff.WithStructuredMergeDiff(true))
	case "ServerSide":
		options = append(options, diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(predicted(asked.Predicted)))
	default:
		return nil, fmt.Errorf("no mode %q; want StructuredMerge, ServerSide or none", asked.Mode)
	}
	result, err := diff.Diff(&asked.Git, &asked.Live, options...)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.CreateMergePatch(result.NormalizedLive, result.PredictedLive)
	if err != nil {
		return nil, err
	}
	return &comparison{Modified: result.Modified, Diff: patch}, nil
}

func parserOf(openapi []byte) (*managedfields.GvkParser, error) {
	document, err := openapi_v2.ParseDocument(openapi)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	models, err := proto.NewOpenAPIData(document)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return managedfields.NewGVKParser(models, false)
}
