// Copies a file by io.Copy.
package main

import (
	"io"
	"log"
	"os"
)

func main() {
	source, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	destination, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if _, err = io.Copy(destination, source); err != nil {
		log.Fatal(err)
	}
}
