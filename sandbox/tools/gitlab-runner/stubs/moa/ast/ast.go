// Package ast has the types of expressions; no expression is ever parsed.
package ast

// Expr is an expression.
type Expr interface{ Walk(visitor Visitor) (Expr, error) }

// Visitor sees each part of an expression.
type Visitor interface {
	Enter(expr Expr) (Visitor, error)
	Exit(expr Expr) (Expr, error)
}

// Template is a text with expressions.
type Template struct{}

// Walk visits nothing.
func (template *Template) Walk(Visitor) (Expr, error) { return template, nil }
