module igpo.dev/programs/pause

go 1.25
