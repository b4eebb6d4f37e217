module github.com/warmserve/warmserve/model/kernel/_asm

go 1.26.0
