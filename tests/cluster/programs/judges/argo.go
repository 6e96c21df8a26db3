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

type pair struct {
	Git, Live unstructured.Unstructured
	Mode      string
	Predicted json.RawMessage
}

func argodiff(question []byte) ([]comparison, error) {
	var asked struct {
		Openapi json.RawMessage
		Pairs   []pair
	}
	if err := json.Unmarshal(question, &asked); err != nil {
		return nil, err
	}
	options := []diff.Option{diff.WithManager(manager)}
	if len(asked.Openapi) > 0 {
		parser, err := parserOf(asked.Openapi)
		if err != nil {
			return nil, err
		}
		options = append(options, diff.WithGVKParser(parser))
	}
	answers := []comparison{}
	for number, one := range asked.Pairs {
		answer, err := compare(one, options)
		if err != nil {
			return nil, fmt.Errorf("pair %d: %w", number, err)
		}
		answers = append(answers, *answer)
	}
	return answers, nil
}

func compare(one pair, options []diff.Option) (*comparison, error) {
	options = append([]diff.Option{}, options...)
	switch one.Mode {
	case "":
	case "StructuredMerge":
		options = append(options, diff.WithStructuredMergeDiff(true))
	case "ServerSide":
		options = append(options, diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(predicted(one.Predicted)))
	default:
		return nil, fmt.Errorf("no mode %q; want StructuredMerge, ServerSide or none", one.Mode)
	}
	result, err := diff.Diff(&one.Git, &one.Live, options...)
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
