// A stand-in for the AWS provider of Terraform and OpenTofu, for tests where the real one cannot be had.
//
// It owns what decides who a job is: the provider block's profile, region and allowed_account_ids, resolved by the library that the real
// provider and OpenTofu's S3 backend use for it, and the data source aws_caller_identity. It has no resources.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	awsbase "github.com/hashicorp/aws-sdk-go-base/v2"
	basediag "github.com/hashicorp/aws-sdk-go-base/v2/diag"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	dataschema "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

const name = "aws"

func main() {
	// OpenTofu asks its own registry for a provider that names none.
	options := providerserver.ServeOpts{Address: "registry.opentofu.org/hashicorp/aws"}
	if err := providerserver.Serve(context.Background(), func() provider.Provider { return standIn{} }, options); err != nil {
		log.Fatal(err)
	}
}

type standIn struct{}

type block struct {
	Profile           types.String `tfsdk:"profile"`
	Region            types.String `tfsdk:"region"`
	AllowedAccountIDs []string     `tfsdk:"allowed_account_ids"`
}

func (standIn) Metadata(_ context.Context, _ provider.MetadataRequest, response *provider.MetadataResponse) {
	response.TypeName = name
}

func (standIn) Schema(_ context.Context, _ provider.SchemaRequest, response *provider.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"profile":             schema.StringAttribute{Optional: true},
		"region":              schema.StringAttribute{Optional: true},
		"allowed_account_ids": schema.SetAttribute{Optional: true, ElementType: types.StringType},
	}}
}

// Configure finds the credentials, asks who they are, and refuses an account that is not allowed, as the real provider does.
func (standIn) Configure(ctx context.Context, request provider.ConfigureRequest, response *provider.ConfigureResponse) {
	var read block
	response.Diagnostics.Append(request.Config.Get(ctx, &read)...)
	if response.Diagnostics.HasError() {
		return
	}
	settings := &awsbase.Config{
		AllowedAccountIds: read.AllowedAccountIDs,
		CallerName:        "the AWS provider's stand-in",
		MaxRetries:        2,
		Profile:           read.Profile.ValueString(),
		Region:            read.Region.ValueString(),
	}
	ctx, found, problems := awsbase.GetAwsConfig(ctx, settings)
	if report(problems, &response.Diagnostics) {
		return
	}
	account, _, problems := awsbase.GetAwsAccountIDAndPartition(ctx, found, settings)
	if report(problems, &response.Diagnostics) {
		return
	}
	if err := settings.VerifyAccountIDAllowed(account); err != nil {
		response.Diagnostics.AddError("AWS account ID not allowed", err.Error())
		return
	}
	response.DataSourceData = found
}

func (standIn) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{func() datasource.DataSource { return &callerIdentity{} }}
}

func (standIn) Resources(context.Context) []func() resource.Resource { return nil }

// report passes the library's problems on, and says whether one is an error.
func report(problems basediag.Diagnostics, to *diag.Diagnostics) bool {
	for _, problem := range problems {
		if problem.Severity() == basediag.SeverityError {
			to.AddError(problem.Summary(), problem.Detail())
		} else {
			to.AddWarning(problem.Summary(), problem.Detail())
		}
	}
	return to.HasError()
}

type callerIdentity struct{ config aws.Config }

type identity struct {
	AccountID types.String `tfsdk:"account_id"`
	ARN       types.String `tfsdk:"arn"`
	ID        types.String `tfsdk:"id"`
	UserID    types.String `tfsdk:"user_id"`
}

func (*callerIdentity) Metadata(_ context.Context, _ datasource.MetadataRequest, response *datasource.MetadataResponse) {
	response.TypeName = name + "_caller_identity"
}

func (*callerIdentity) Schema(_ context.Context, _ datasource.SchemaRequest, response *datasource.SchemaResponse) {
	computed := dataschema.StringAttribute{Computed: true}
	response.Schema = dataschema.Schema{Attributes: map[string]dataschema.Attribute{
		"account_id": computed, "arn": computed, "id": computed, "user_id": computed,
	}}
}

func (source *callerIdentity) Configure(_ context.Context, request datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	if config, ok := request.ProviderData.(aws.Config); ok {
		source.config = config
	}
}

func (source *callerIdentity) Read(ctx context.Context, _ datasource.ReadRequest, response *datasource.ReadResponse) {
	answer, err := sts.NewFromConfig(source.config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		response.Diagnostics.AddError("reading STS Caller Identity", err.Error())
		return
	}
	response.Diagnostics.Append(response.State.Set(ctx, identity{
		AccountID: types.StringPointerValue(answer.Account),
		ARN:       types.StringPointerValue(answer.Arn),
		ID:        types.StringPointerValue(answer.Account),
		UserID:    types.StringPointerValue(answer.UserId),
	})...)
}
