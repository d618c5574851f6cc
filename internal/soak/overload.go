package main

import "context"

func overload(ctx context.Context, o options) ([]verdict, error) { return nil, nil }
func slow(ctx context.Context, o options) ([]verdict, error)     { return nil, nil }
